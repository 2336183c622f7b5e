#include "error.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <array>
#include <string_view>

namespace memcoord {
namespace {

// Names of virErrorNumber by number, without VIR_ERR_ or VIR_WAR_. The numbers are part of
// libvirt's ABI: new ones are only ever appended, so this list is right for every libvirt we may
// run on, whatever the headers we were built with.
constexpr std::array kNames = {
    "OK",
    "INTERNAL_ERROR",
    "NO_MEMORY",
    "NO_SUPPORT",
    "UNKNOWN_HOST",
    "NO_CONNECT",
    "INVALID_CONN",
    "INVALID_DOMAIN",
    "INVALID_ARG",
    "OPERATION_FAILED",
    "GET_FAILED",
    "POST_FAILED",
    "HTTP_ERROR",
    "SEXPR_SERIAL",
    "NO_XEN",
    "XEN_CALL",
    "OS_TYPE",
    "NO_KERNEL",
    "NO_ROOT",
    "NO_SOURCE",
    "NO_TARGET",
    "NO_NAME",
    "NO_OS",
    "NO_DEVICE",
    "NO_XENSTORE",
    "DRIVER_FULL",
    "CALL_FAILED",
    "XML_ERROR",
    "DOM_EXIST",
    "OPERATION_DENIED",
    "OPEN_FAILED",
    "READ_FAILED",
    "PARSE_FAILED",
    "CONF_SYNTAX",
    "WRITE_FAILED",
    "XML_DETAIL",
    "INVALID_NETWORK",
    "NETWORK_EXIST",
    "SYSTEM_ERROR",
    "RPC",
    "GNUTLS_ERROR",
    "NO_NETWORK",
    "NO_DOMAIN",
    "NO_NETWORK",
    "INVALID_MAC",
    "AUTH_FAILED",
    "INVALID_STORAGE_POOL",
    "INVALID_STORAGE_VOL",
    "NO_STORAGE",
    "NO_STORAGE_POOL",
    "NO_STORAGE_VOL",
    "NO_NODE",
    "INVALID_NODE_DEVICE",
    "NO_NODE_DEVICE",
    "NO_SECURITY_MODEL",
    "OPERATION_INVALID",
    "NO_INTERFACE",
    "NO_INTERFACE",
    "INVALID_INTERFACE",
    "MULTIPLE_INTERFACES",
    "NO_NWFILTER",
    "INVALID_NWFILTER",
    "NO_NWFILTER",
    "BUILD_FIREWALL",
    "NO_SECRET",
    "INVALID_SECRET",
    "NO_SECRET",
    "CONFIG_UNSUPPORTED",
    "OPERATION_TIMEOUT",
    "MIGRATE_PERSIST_FAILED",
    "HOOK_SCRIPT_FAILED",
    "INVALID_DOMAIN_SNAPSHOT",
    "NO_DOMAIN_SNAPSHOT",
    "INVALID_STREAM",
    "ARGUMENT_UNSUPPORTED",
    "STORAGE_PROBE_FAILED",
    "STORAGE_POOL_BUILT",
    "SNAPSHOT_REVERT_RISKY",
    "OPERATION_ABORTED",
    "AUTH_CANCELLED",
    "NO_DOMAIN_METADATA",
    "MIGRATE_UNSAFE",
    "OVERFLOW",
    "BLOCK_COPY_ACTIVE",
    "OPERATION_UNSUPPORTED",
    "SSH",
    "AGENT_UNRESPONSIVE",
    "RESOURCE_BUSY",
    "ACCESS_DENIED",
    "DBUS_SERVICE",
    "STORAGE_VOL_EXIST",
    "CPU_INCOMPATIBLE",
    "XML_INVALID_SCHEMA",
    "MIGRATE_FINISH_OK",
    "AUTH_UNAVAILABLE",
    "NO_SERVER",
    "NO_CLIENT",
    "AGENT_UNSYNCED",
    "LIBSSH",
    "DEVICE_MISSING",
    "INVALID_NWFILTER_BINDING",
    "NO_NWFILTER_BINDING",
    "INVALID_DOMAIN_CHECKPOINT",
    "NO_DOMAIN_CHECKPOINT",
    "NO_DOMAIN_BACKUP",
    "INVALID_NETWORK_PORT",
    "NETWORK_PORT_EXIST",
    "NO_NETWORK_PORT",
    "NO_HOSTNAME",
    "CHECKPOINT_INCONSISTENT",
    "MULTIPLE_DOMAINS",
};
static_assert(std::string_view(kNames[VIR_ERR_NO_DOMAIN]) == "NO_DOMAIN");
static_assert(std::string_view(kNames[VIR_ERR_NO_HOSTNAME]) == "NO_HOSTNAME");

std::string CodeOf(int number) {
  const auto index = static_cast<size_t>(number);
  if (number >= 0 && index < kNames.size()) return std::string("ERR_LIBVIRT_") + kNames[index];
  return "ERR_LIBVIRT_" + std::to_string(number);
}

std::string Message(const std::string& doing, const std::string& guest, const std::string& why) {
  return guest.empty() ? doing + ": " + why : doing + " of guest '" + guest + "': " + why;
}

}  // namespace

Error LastLibvirtError(const std::string& doing, const std::string& guest) {
  // The error belongs to the thread and is cleared by nearly every call into libvirt.
  const virError* last = virGetLastError();
  Error error;
  error.libvirt_code = last == nullptr ? VIR_ERR_OK : last->code;
  error.libvirt_domain = last == nullptr ? VIR_FROM_NONE : last->domain;
  error.code = CodeOf(error.libvirt_code);
  const bool told = last != nullptr && last->message != nullptr;
  error.message = Message(doing, guest, told ? last->message : "libvirt gave no reason");
  error.guest = guest;
  return error;
}

Error OwnError(const char* code, const std::string& doing, const std::string& guest,
               const std::string& why) {
  Error error;
  error.code = std::string("ERR_MEMCOORD_") + code;
  error.message = Message(doing, guest, why);
  error.guest = guest;
  return error;
}

}  // namespace memcoord
