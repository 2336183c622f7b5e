// Ownership of libvirt's objects. Each frees its own reference; none is ever freed by hand.
#ifndef MEMCOORD_VIRT_PTR_H_
#define MEMCOORD_VIRT_PTR_H_

#include <libvirt/libvirt.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace memcoord {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};

// virConnectClose only gives up one reference: domains and registered callbacks hold others.
using ConnectPtr = std::unique_ptr<virConnect, FreeWith<virConnectClose>>;
using DomainPtr = std::unique_ptr<virDomain, FreeWith<virDomainFree>>;
using StatsRecordsPtr =
    std::unique_ptr<virDomainStatsRecordPtr, FreeWith<virDomainStatsRecordListFree>>;
// Text that libvirt allocated for the caller.
using CharPtr = std::unique_ptr<char, FreeWith<std::free>>;

// Both clear the thread's libvirt error.
inline std::string UuidOf(virDomainPtr domain) {
  char uuid[VIR_UUID_STRING_BUFLEN] = "";
  virDomainGetUUIDString(domain, uuid);
  return uuid;
}
inline std::string NameOf(virDomainPtr domain) {
  const char* name = virDomainGetName(domain);
  return name == nullptr ? std::string() : name;
}

// Takes over the array that virConnectListAllDomains filled.
inline std::vector<DomainPtr> TakeDomains(virDomainPtr* domains, int count) {
  std::unique_ptr<virDomainPtr, FreeWith<std::free>> array(domains);
  std::vector<DomainPtr> taken;
  taken.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) taken.emplace_back(domains[i]);
  return taken;
}

}  // namespace memcoord

#endif  // MEMCOORD_VIRT_PTR_H_
