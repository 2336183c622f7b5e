// Ownership of libvirt's objects. Each frees its own reference; none is ever freed by hand.
#ifndef MEMCOORD_VIRT_PTR_H_
#define MEMCOORD_VIRT_PTR_H_

#include <libvirt/libvirt.h>

#include <cstdlib>
#include <memory>
#include <optional>
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

// Parameters that a call filled.
class TypedParams {
 public:
  TypedParams() = default;
  ~TypedParams() { virTypedParamsFree(params_, count_); }
  TypedParams(const TypedParams&) = delete;
  TypedParams& operator=(const TypedParams&) = delete;

  virTypedParameterPtr* params() { return &params_; }
  int* count() { return &count_; }
  // Nothing if there is no such parameter.
  std::optional<int> Int(const char* name) const {
    int value = 0;
    if (virTypedParamsGetInt(params_, count_, name, &value) != 1) return std::nullopt;
    return value;
  }

 private:
  virTypedParameterPtr params_ = nullptr;
  int count_ = 0;
};

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
