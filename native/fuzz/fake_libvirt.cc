#include "fake_libvirt.h"

#include <libvirt/virterror.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>

namespace memcoord::fake {
namespace {

struct Callback {
  virConnectPtr connect;
  int kind;
  virConnectDomainEventGenericCallback call;
  void* opaque;
  virFreeCallback free;
};

struct CloseCallback {
  virConnectCloseFunc call;
  void* opaque;
  virFreeCallback free;
};

struct Libvirt {
  std::mutex mutex;
  World world;
  Seen seen;
  std::vector<std::optional<unsigned long>> maximums;
  // By guest: periods set since it was last 0.
  std::vector<size_t> periods;
  std::function<void()> on_list;
  std::function<void()> on_stats;
  int last_watch = 0;
  std::map<int, Callback> callbacks;
  std::map<virConnectPtr, CloseCallback> close_callbacks;

  // Held while callbacks run and while they are unregistered. Locked before `mutex`.
  std::mutex dispatching;

  std::atomic<int> connections{0};
  std::atomic<int> domains{0};
  std::atomic<int> lists{0};
};

// Never freed: its users are threads that nobody joins.
Libvirt& The() {
  static Libvirt& libvirt = *std::make_unique<Libvirt>().release();
  return libvirt;
}

struct LastError {
  virError error = {};
  std::string text;
};
LastError& ErrorOfThread() {
  thread_local LastError last;
  return last;
}

void Clear() { ErrorOfThread().error = {}; }

// Returns -1, for the caller to return.
int FailWith(int code) {
  LastError& last = ErrorOfThread();
  last.error.code = code;
  last.error.domain = VIR_FROM_QEMU;
  // Not every error has a text.
  last.text = "error " + std::to_string(code);
  last.error.message = code % 2 == 0 ? last.text.data() : nullptr;
  The().seen.codes.insert(code == VIR_ERR_OK ? VIR_ERR_INTERNAL_ERROR : code);
  return -1;
}

[[noreturn]] void Misused(const char* how) {
  std::fprintf(stderr, "libvirt is misused: %s\n", how);
  std::abort();
}

// A running guest by UUID; null after an error. With the mutex held.
Guest* Running(const std::string& uuid, size_t* at = nullptr) {
  auto& guests = The().world.guests;
  const auto it = std::find_if(guests.begin(), guests.end(), [&](const Guest& guest) {
    return guest.runs && guest.uuid == uuid;
  });
  if (it == guests.end()) {
    FailWith(VIR_ERR_NO_DOMAIN);
    return nullptr;
  }
  if (at != nullptr) *at = static_cast<size_t>(it - guests.begin());
  return &*it;
}

void Run(std::function<void()> Libvirt::*hook) {
  std::function<void()> once;
  {
    const std::lock_guard lock(The().mutex);
    once = std::exchange(The().*hook, nullptr);
  }
  if (once) once();
}

}  // namespace
}  // namespace memcoord::fake

using memcoord::fake::Clear;
using memcoord::fake::Failing;
using memcoord::fake::FailWith;
using memcoord::fake::Guest;
using memcoord::fake::Misused;
using memcoord::fake::Running;
using memcoord::fake::The;
using memcoord::fake::Told;

// libvirt's own names.
// NOLINTBEGIN(bugprone-reserved-identifier)
struct _virConnect {
  std::atomic<int> references{1};
  std::string uri;
};

struct _virDomain {
  std::atomic<int> references{1};
  virConnectPtr connect = nullptr;
  std::string uuid;
  std::optional<std::string> name;
  int id = -1;
};
// NOLINTEND(bugprone-reserved-identifier)

namespace memcoord::fake {
namespace {

void Release(virConnectPtr connect) {
  const int left = --connect->references;
  if (left < 0) Misused("a connection is closed too often");
  if (left > 0) return;
  --The().connections;
  const std::unique_ptr<virConnect> owned(connect);
}

virDomainPtr NewDomain(virConnectPtr connect, std::string uuid, std::optional<std::string> name,
                       int id) {
  auto domain = std::make_unique<virDomain>();
  ++connect->references;
  domain->connect = connect;
  domain->uuid = std::move(uuid);
  domain->name = std::move(name);
  domain->id = id;
  ++The().domains;
  return domain.release();
}

virDomainPtr NewDomain(virConnectPtr connect, const Guest& guest) {
  return NewDomain(connect, guest.uuid, guest.name, guest.id);
}

void Call(const Callback& callback, const Event& event) {
  const virDomainPtr domain = NewDomain(callback.connect, event.uuid, event.name, event.id);
  switch (event.kind) {
    case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
      reinterpret_cast<virConnectDomainEventCallback>(callback.call)(
          callback.connect, domain, event.type, event.detail, callback.opaque);
      break;
    case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
      reinterpret_cast<virConnectDomainEventBalloonChangeCallback>(callback.call)(
          callback.connect, domain, event.actual, callback.opaque);
      break;
    case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
      reinterpret_cast<virConnectDomainEventDeviceAddedCallback>(callback.call)(
          callback.connect, domain, event.alias ? event.alias->c_str() : nullptr, callback.opaque);
      break;
    case VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION:
      reinterpret_cast<virConnectDomainEventMigrationIterationCallback>(callback.call)(
          callback.connect, domain, event.type, callback.opaque);
      break;
    default:
      callback.call(callback.connect, domain, callback.opaque);
  }
  virDomainFree(domain);
}

size_t IndexOf(int kind) {
  switch (kind) {
    case VIR_DOMAIN_EVENT_ID_LIFECYCLE:
      return 0;
    case VIR_DOMAIN_EVENT_ID_REBOOT:
      return 1;
    case VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE:
      return 2;
    case VIR_DOMAIN_EVENT_ID_DEVICE_ADDED:
      return 3;
    default:
      return 4;
  }
}

// Memory as libvirt's lists have it, which callers free or hand back. T may be a pointer.
template <typename T>
T* Array(size_t count) {
  // NOLINTNEXTLINE(bugprone-sizeof-expression)
  return static_cast<T*>(std::calloc(count, sizeof(T)));
}

void SetParameter(const Guest& guest, virDomainStatsRecordPtr record) {
  if (guest.told == Told::kNot) return;
  record->nparams = 1;
  record->params = Array<virTypedParameter>(1);
  virTypedParameter& parameter = *record->params;
  const char* name = guest.told == Told::kUnderOtherName ? "state.reason" : "state.state";
  std::strncpy(parameter.field, name, sizeof parameter.field - 1);
  parameter.type =
      guest.told == Told::kAsOtherType ? VIR_TYPED_PARAM_UINT : int{VIR_TYPED_PARAM_INT};
  parameter.value.i = guest.told_state;
}

}  // namespace

void Reset(World world) {
  Libvirt& the = The();
  const std::lock_guard lock(the.mutex);
  const size_t guests = world.guests.size();
  the.world = std::move(world);
  the.seen = {{}, std::vector<int>(guests)};
  the.maximums.assign(guests, std::nullopt);
  the.periods.assign(guests, 0);
  the.on_list = nullptr;
  the.on_stats = nullptr;
}

World Now() {
  const std::lock_guard lock(The().mutex);
  return The().world;
}

Guest GuestNow(size_t at) {
  const std::lock_guard lock(The().mutex);
  return The().world.guests[at];
}

void Change(const std::function<void(World&)>& change) {
  const std::lock_guard lock(The().mutex);
  change(The().world);
}

Seen SeenSoFar() {
  const std::lock_guard lock(The().mutex);
  return The().seen;
}

void Forget() {
  const std::lock_guard lock(The().mutex);
  The().seen = {{}, std::vector<int>(The().world.guests.size())};
}

std::vector<std::optional<unsigned long>> LastMaximums() {
  const std::lock_guard lock(The().mutex);
  return The().maximums;
}

void Emit(const Event& event) {
  Libvirt& the = The();
  const std::lock_guard dispatching(the.dispatching);
  std::vector<Callback> callbacks;
  std::vector<std::pair<virConnectPtr, CloseCallback>> close_callbacks;
  {
    const std::lock_guard lock(the.mutex);
    for (const auto& [id, callback] : the.callbacks) {
      if (callback.kind == event.kind) callbacks.push_back(callback);
    }
    if (event.kind < 0) {
      close_callbacks.assign(the.close_callbacks.begin(), the.close_callbacks.end());
    }
  }
  for (const Callback& callback : callbacks) Call(callback, event);
  for (const auto& [connect, callback] : close_callbacks) {
    callback.call(connect, event.type, callback.opaque);
  }
}

void OnNextList(std::function<void()> hook) {
  const std::lock_guard lock(The().mutex);
  The().on_list = std::move(hook);
}

void OnNextStats(std::function<void()> hook) {
  const std::lock_guard lock(The().mutex);
  The().on_stats = std::move(hook);
}

std::string Left() {
  Libvirt& the = The();
  const std::lock_guard lock(the.mutex);
  std::string left;
  const auto count = [&](size_t number, const char* what) {
    if (number > 0) left += " " + std::to_string(number) + " " + what;
  };
  count(static_cast<size_t>(the.connections), "connections");
  count(static_cast<size_t>(the.domains), "domains");
  count(static_cast<size_t>(the.lists), "lists");
  count(the.callbacks.size(), "callbacks");
  count(the.close_callbacks.size(), "close callbacks");
  return left;
}

}  // namespace memcoord::fake

using memcoord::fake::Array;
using memcoord::fake::Call;
using memcoord::fake::IndexOf;
using memcoord::fake::Libvirt;
using memcoord::fake::NewDomain;
using memcoord::fake::Release;
using memcoord::fake::Run;
using memcoord::fake::SetParameter;

// What follows is libvirt's API, as far as the code under test calls it.

int virInitialize() { return 0; }
void virSetErrorFunc(void*, virErrorFunc) {}
void virEventRegisterImpl(virEventAddHandleFunc, virEventUpdateHandleFunc, virEventRemoveHandleFunc,
                          virEventAddTimeoutFunc, virEventUpdateTimeoutFunc,
                          virEventRemoveTimeoutFunc) {}

virErrorPtr virGetLastError() {
  virError& error = memcoord::fake::ErrorOfThread().error;
  return error.code == VIR_ERR_OK ? nullptr : &error;
}
void virResetLastError() { Clear(); }

virConnectPtr virConnectOpenAuth(const char* uri, virConnectAuthPtr auth, unsigned) {
  Clear();
  const std::lock_guard lock(The().mutex);
  if (const Failing& failing = The().world.open) {
    // Some servers ask for a password first.
    if (*failing == VIR_ERR_AUTH_FAILED) auth->cb(nullptr, 0, auth->cbdata);
    FailWith(*failing);
    return nullptr;
  }
  auto connect = std::make_unique<virConnect>();
  connect->uri = uri;
  ++The().connections;
  return connect.release();
}

int virConnectClose(virConnectPtr connect) {
  Clear();
  Release(connect);
  return 0;
}

char* virConnectGetURI(virConnectPtr connect) {
  Clear();
  const std::lock_guard lock(The().mutex);
  if (const Failing& failing = The().world.uri) {
    FailWith(*failing);
    return nullptr;
  }
  return strdup(connect->uri.c_str());
}

int virConnectSetKeepAlive(virConnectPtr, int, unsigned) {
  Clear();
  const std::lock_guard lock(The().mutex);
  const Failing& failing = The().world.keepalive;
  return failing ? FailWith(*failing) : 0;
}

int virConnectRegisterCloseCallback(virConnectPtr connect, virConnectCloseFunc call, void* opaque,
                                    virFreeCallback free) {
  Clear();
  const std::lock_guard lock(The().mutex);
  if (const Failing& failing = The().world.close_callback) return FailWith(*failing);
  ++connect->references;
  The().close_callbacks[connect] = {call, opaque, free};
  return 0;
}

int virConnectUnregisterCloseCallback(virConnectPtr connect, virConnectCloseFunc call) {
  Clear();
  Libvirt& the = The();
  const std::lock_guard dispatching(the.dispatching);
  memcoord::fake::CloseCallback callback = {};
  {
    const std::lock_guard lock(the.mutex);
    const auto it = the.close_callbacks.find(connect);
    if (it == the.close_callbacks.end() || it->second.call != call) {
      Misused("a close callback is not registered");
    }
    callback = it->second;
    the.close_callbacks.erase(it);
  }
  callback.free(callback.opaque);
  Release(connect);
  return 0;
}

int virConnectDomainEventRegisterAny(virConnectPtr connect, virDomainPtr, int kind,
                                     virConnectDomainEventGenericCallback call, void* opaque,
                                     virFreeCallback free) {
  Clear();
  Libvirt& the = The();
  const std::lock_guard lock(the.mutex);
  if (const Failing& failing = the.world.watch[IndexOf(kind)]) return FailWith(*failing);
  ++connect->references;
  // The first is 0, as libvirt's.
  const int id = the.last_watch++;
  the.callbacks[id] = {connect, kind, call, opaque, free};
  return id;
}

int virConnectDomainEventDeregisterAny(virConnectPtr connect, int id) {
  Clear();
  Libvirt& the = The();
  const std::lock_guard dispatching(the.dispatching);
  memcoord::fake::Callback callback = {};
  bool last_event = false;
  {
    const std::lock_guard lock(the.mutex);
    const auto it = the.callbacks.find(id);
    if (it == the.callbacks.end() || it->second.connect != connect) {
      Misused("a callback is not registered");
    }
    callback = it->second;
    the.callbacks.erase(it);
    last_event = the.world.last_event;
  }
  if (last_event) Call(callback, {callback.kind, "late", std::nullopt, -1, 0, 0, 0, std::nullopt});
  callback.free(callback.opaque);
  Release(connect);
  return 0;
}

int virConnectListAllDomains(virConnectPtr connect, virDomainPtr** domains, unsigned) {
  Clear();
  int count = 0;
  {
    const std::lock_guard lock(The().mutex);
    const auto& world = The().world;
    if (const Failing& failing = world.list) return FailWith(*failing);
    *domains = Array<virDomainPtr>(world.guests.size() + 1);
    for (const Guest& guest : world.guests) {
      if (guest.runs) (*domains)[count++] = NewDomain(connect, guest);
    }
  }
  Run(&Libvirt::on_list);
  return count;
}

int virConnectGetAllDomainStats(virConnectPtr connect, unsigned, virDomainStatsRecordPtr** records,
                                unsigned) {
  Clear();
  int count = 0;
  {
    const std::lock_guard lock(The().mutex);
    const auto& world = The().world;
    if (const Failing& failing = world.list_with_states) return FailWith(*failing);
    *records = Array<virDomainStatsRecordPtr>(world.guests.size() + 1);
    ++The().lists;
    for (const Guest& guest : world.guests) {
      if (!guest.runs) continue;
      auto* record = Array<virDomainStatsRecord>(1);
      record->dom = NewDomain(connect, guest);
      SetParameter(guest, record);
      (*records)[count++] = record;
    }
  }
  Run(&Libvirt::on_list);
  return count;
}

void virDomainStatsRecordListFree(virDomainStatsRecordPtr* records) {
  // Keeps the last error.
  if (records == nullptr) return;
  for (virDomainStatsRecordPtr* next = records; *next != nullptr; ++next) {
    const virError error = memcoord::fake::ErrorOfThread().error;
    virDomainFree((*next)->dom);
    memcoord::fake::ErrorOfThread().error = error;
    std::free((*next)->params);
    std::free(*next);
  }
  std::free(records);
  --The().lists;
}

int virTypedParamsGetInt(virTypedParameterPtr params, int count, const char* name, int* value) {
  Clear();
  for (int i = 0; i < count; ++i) {
    if (std::strcmp(params[i].field, name) != 0) continue;
    const std::lock_guard lock(The().mutex);
    if (params[i].type != VIR_TYPED_PARAM_INT) return FailWith(VIR_ERR_INVALID_ARG);
    *value = params[i].value.i;
    return 1;
  }
  return 0;
}

void virTypedParamsFree(virTypedParameterPtr params, int) {
  if (params == nullptr) return;
  std::free(params);
  --The().lists;
}

int virDomainRef(virDomainPtr domain) {
  Clear();
  ++domain->references;
  return 0;
}

int virDomainFree(virDomainPtr domain) {
  Clear();
  const int left = --domain->references;
  if (left < 0) Misused("a domain is freed too often");
  if (left > 0) return 0;
  Release(domain->connect);
  --The().domains;
  const std::unique_ptr<virDomain> owned(domain);
  return 0;
}

// No UUID: libvirt does not tell it.
int virDomainGetUUIDString(virDomainPtr domain, char* text) {
  Clear();
  if (domain->uuid.empty()) return -1;
  std::strncpy(text, domain->uuid.c_str(), VIR_UUID_STRING_BUFLEN - 1);
  text[VIR_UUID_STRING_BUFLEN - 1] = '\0';
  return 0;
}

const char* virDomainGetName(virDomainPtr domain) {
  Clear();
  return domain->name ? domain->name->c_str() : nullptr;
}

unsigned virDomainGetID(virDomainPtr domain) {
  Clear();
  return static_cast<unsigned>(domain->id);
}

virDomainPtr virDomainLookupByUUIDString(virConnectPtr connect, const char* uuid) {
  Clear();
  const std::lock_guard lock(The().mutex);
  const Guest* guest = Running(uuid);
  if (guest == nullptr) return nullptr;
  if (guest->lookup) {
    FailWith(*guest->lookup);
    return nullptr;
  }
  return NewDomain(connect, *guest);
}

int virDomainGetInfo(virDomainPtr domain, virDomainInfoPtr info) {
  Clear();
  Libvirt& the = The();
  const std::lock_guard lock(the.mutex);
  size_t at = 0;
  const Guest* guest = Running(domain->uuid, &at);
  if (guest == nullptr) return -1;
  if (guest->info) return FailWith(*guest->info);
  *info = {guest->state, guest->maximum, 0, 1, 0};
  the.maximums[at] = guest->maximum;
  ++the.seen.infos[at];
  return 0;
}

int virDomainGetState(virDomainPtr domain, int* state, int* reason, unsigned) {
  Clear();
  const std::lock_guard lock(The().mutex);
  const Guest* guest = Running(domain->uuid);
  if (guest == nullptr) return -1;
  *state = guest->state;
  *reason = guest->reason;
  return 0;
}

int virDomainGetJobStats(virDomainPtr domain, int* type, virTypedParameterPtr* params, int* count,
                         unsigned) {
  Clear();
  const std::lock_guard lock(The().mutex);
  const Guest* guest = Running(domain->uuid);
  if (guest == nullptr) return -1;
  if (guest->job_stats) return FailWith(*guest->job_stats);
  *type = guest->job < 0 ? VIR_DOMAIN_JOB_NONE : VIR_DOMAIN_JOB_UNBOUNDED;
  *params = nullptr;
  *count = 0;
  if (guest->job < 0) return 0;
  *count = 1;
  *params = Array<virTypedParameter>(1);
  ++The().lists;
  std::strncpy((*params)->field, VIR_DOMAIN_JOB_OPERATION, sizeof(*params)->field - 1);
  (*params)->type = VIR_TYPED_PARAM_INT;
  (*params)->value.i = guest->job;
  return 0;
}

int virDomainMemoryStats(virDomainPtr domain, virDomainMemoryStatPtr stats, unsigned most,
                         unsigned) {
  Clear();
  Run(&Libvirt::on_stats);
  const std::lock_guard lock(The().mutex);
  const Guest* guest = Running(domain->uuid);
  if (guest == nullptr) return -1;
  if (guest->memory_stats) return FailWith(*guest->memory_stats);
  const size_t count = std::min<size_t>(guest->stats.size(), most);
  for (size_t i = 0; i < most; ++i) {
    // What comes after those that are reported must not be read.
    const bool told = i < count;
    stats[i].tag = told ? guest->stats[i].first : static_cast<int>(i);
    stats[i].val = told ? guest->stats[i].second : 0xbadbadbadbadbadULL;
  }
  return static_cast<int>(count);
}

int virDomainBlockStats(virDomainPtr domain, const char*, virDomainBlockStatsPtr stats,
                        size_t size) {
  Clear();
  const std::lock_guard lock(The().mutex);
  const Guest* guest = Running(domain->uuid);
  if (guest == nullptr) return -1;
  if (guest->block_stats) return FailWith(*guest->block_stats);
  if (size < sizeof *stats) Misused("no room for block stats");
  *stats = {-1, guest->bytes_read, -1, -1, -1};
  return 0;
}

int virDomainSetMemoryStatsPeriod(virDomainPtr domain, int period, unsigned) {
  Clear();
  Libvirt& the = The();
  const std::lock_guard lock(the.mutex);
  size_t at = 0;
  const Guest* guest = Running(domain->uuid, &at);
  if (guest == nullptr) return -1;
  size_t& step = the.periods[at];
  step = period == 0 ? 0 : std::min<size_t>(step + 1, 2);
  const Failing& failing = guest->period[step];
  return failing ? FailWith(*failing) : 0;
}
