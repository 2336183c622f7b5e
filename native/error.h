// Errors are values: made where a call fails, on any thread, and turned into JavaScript errors in
// js_values.cc.
#ifndef MEMCOORD_ERROR_H_
#define MEMCOORD_ERROR_H_

#include <string>
#include <variant>

namespace memcoord {

struct Error {
  // Stable: ERR_LIBVIRT_<name of the virErrorNumber> or ERR_MEMCOORD_<what>.
  std::string code;
  std::string message;
  // virErrorNumber and virErrorDomain; 0 where the error is not libvirt's.
  int libvirt_code = 0;
  int libvirt_domain = 0;
  // Name of the guest that the failed call was about; empty where there is none.
  std::string guest;
};

template <typename T>
using Result = std::variant<T, Error>;

// For calls without a result.
using Done = std::monostate;

// Both make the message "<doing> of guest '<guest>': <why>", where `doing` says what failed, as in
// "cannot set the memory", and `guest` may be empty.

// Copies the calling thread's libvirt error. Must come before any other libvirt call on the thread:
// even virDomainGetName clears it.
Error LastLibvirtError(const std::string& doing, const std::string& guest = {});

// The call has not returned by its deadline: its outcome is not known.
inline constexpr const char* kDeadline = "DEADLINE";
// The call was never made, since an earlier one on the same guest is still in flight.
inline constexpr const char* kBusy = "BUSY";
inline constexpr const char* kClosed = "CLOSED";
inline constexpr const char* kAuthUnsupported = "AUTH_UNSUPPORTED";
// The system has no thread left.
inline constexpr const char* kNoThread = "NO_THREAD";

Error OwnError(const char* code, const std::string& doing, const std::string& guest,
               const std::string& why);

}  // namespace memcoord

#endif  // MEMCOORD_ERROR_H_
