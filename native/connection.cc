#include "connection.h"

#include <libvirt/virterror.h>

#include <array>
#include <chrono>
#include <utility>

namespace memcoord {
namespace {

// A daemon that does not answer for (count + 1) x interval seconds is given up: calls in flight
// fail and the close callback fires.
constexpr int kKeepAliveInterval = 1;
constexpr unsigned kKeepAliveCount = 3;

// A thread that waits for a link sees within this time that the connection is lost.
constexpr std::chrono::milliseconds kLostSeen{100};

// All kinds, so that libvirt asks here instead of failing with a message about its own workings.
std::array<int, 9> credential_types = {
    VIR_CRED_USERNAME,     VIR_CRED_AUTHNAME,   VIR_CRED_LANGUAGE,
    VIR_CRED_CNONCE,       VIR_CRED_PASSPHRASE, VIR_CRED_ECHOPROMPT,
    VIR_CRED_NOECHOPROMPT, VIR_CRED_REALM,      VIR_CRED_EXTERNAL,
};

int Refuse(virConnectCredentialPtr, unsigned, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

// What libvirt's callbacks are called with; libvirt frees it after the last call.
void* Share(const std::shared_ptr<EventSink>& sink) {
  return std::make_unique<std::shared_ptr<EventSink>>(sink).release();
}
void Unshare(void* opaque) {
  const std::unique_ptr<std::shared_ptr<EventSink>> owned(
      static_cast<std::shared_ptr<EventSink>*>(opaque));
}
void Emit(void* opaque, const Event& event) {
  (*static_cast<std::shared_ptr<EventSink>*>(opaque))->Emit(event);
}

Event About(virDomainPtr domain, Event::Kind kind) {
  Event event;
  event.kind = kind;
  event.uuid = UuidOf(domain);
  event.name = NameOf(domain);
  event.id = static_cast<int>(virDomainGetID(domain));
  return event;
}

int OnLifecycle(virConnectPtr, virDomainPtr domain, int type, int detail, void* opaque) {
  Event event = About(domain, Event::Kind::kLifecycle);
  event.code = type;
  event.detail = detail;
  Emit(opaque, event);
  return 0;
}

void OnReboot(virConnectPtr, virDomainPtr domain, void* opaque) {
  Emit(opaque, About(domain, Event::Kind::kReboot));
}

void OnBalloon(virConnectPtr, virDomainPtr domain, unsigned long long actual, void* opaque) {
  Event event = About(domain, Event::Kind::kBalloon);
  event.actual = actual;
  Emit(opaque, event);
}

void OnDeviceAdded(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) {
  Event event = About(domain, Event::Kind::kDeviceAdded);
  if (alias != nullptr) event.alias = alias;
  Emit(opaque, event);
}

// QEMU has begun a pass over the guest's memory: of a migration, a save, a dump or a snapshot.
void OnIteration(virConnectPtr, virDomainPtr domain, int, void* opaque) {
  Emit(opaque, About(domain, Event::Kind::kJob));
}

void OnClose(virConnectPtr, int reason, void* opaque) {
  Event event;
  event.kind = Event::Kind::kClosed;
  event.code = reason;
  Emit(opaque, event);
}

}  // namespace

void EventSink::Listen(std::function<void(const Event&)> listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

bool EventSink::Closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void EventSink::Emit(const Event& event) {
  const std::lock_guard lock(mutex_);
  // Each link reports that it was closed; once is enough.
  if (event.kind == Event::Kind::kClosed && std::exchange(closed_, true)) return;
  if (listener_) listener_(event);
}

Result<std::unique_ptr<Link>> Link::Open(const std::string& uri, bool read_only,
                                         const std::shared_ptr<EventSink>& sink) {
  bool asked = false;
  virConnectAuth auth = {credential_types.data(), credential_types.size(), Refuse, &asked};
  ConnectPtr connect(
      virConnectOpenAuth(uri.c_str(), &auth, read_only ? unsigned{VIR_CONNECT_RO} : 0U));
  if (connect == nullptr) {
    Error error = LastLibvirtError("cannot connect to " + uri);
    if (!asked) return error;
    error.code = std::string("ERR_MEMCOORD_") + kAuthUnsupported;
    error.message +=
        "; memcoord enters no user names or passwords: put them into libvirt's auth.conf, or "
        "connect by a URI that needs none";
    return error;
  }
  return std::make_unique<Link>(std::move(connect), sink);
}

Link::Link(ConnectPtr connect, const std::shared_ptr<EventSink>& sink)
    : connect_(std::move(connect)), sink_(sink) {
  // Without a network there is nothing to lose. The callback would be accepted and forgotten, and
  // its data never freed.
  if (InProcess()) return;
  virConnectSetKeepAlive(get(), kKeepAliveInterval, kKeepAliveCount);
  void* opaque = Share(sink_);
  watching_close_ = virConnectRegisterCloseCallback(get(), OnClose, opaque, Unshare) == 0;
  if (!watching_close_) Unshare(opaque);
}

Link::~Link() {
  // Each registered callback holds a reference to the connection.
  for (const int watch : watches_) virConnectDomainEventDeregisterAny(get(), watch);
  if (watching_close_) virConnectUnregisterCloseCallback(get(), OnClose);
}

bool Link::InProcess() const {
  const CharPtr uri(virConnectGetURI(get()));
  return uri != nullptr && std::string(uri.get()).rfind("test:///", 0) == 0;
}

void Link::WatchDomains() {
  const auto watch = [this](int id, virConnectDomainEventGenericCallback callback) {
    void* opaque = Share(sink_);
    const int handle =
        virConnectDomainEventRegisterAny(get(), nullptr, id, callback, opaque, Unshare);
    // Not every driver has every event. Without one, sweeps see the change later.
    if (handle < 0) {
      Unshare(opaque);
    } else {
      watches_.push_back(handle);
    }
  };
  watch(VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(OnLifecycle));
  watch(VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(OnReboot));
  watch(VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(OnBalloon));
  watch(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(OnDeviceAdded));
  watch(VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(OnIteration));
}

DomainPtr Link::Find(const std::string& uuid, int id, bool alone) {
  if (auto domain = Kept(uuid, &id)) return domain;
  if (!alone) {
    KeepAll();
    if (auto domain = Kept(uuid, nullptr)) return domain;
  }
  DomainPtr domain(virDomainLookupByUUIDString(get(), uuid.c_str()));
  if (domain == nullptr || !alone) return domain;
  virDomainRef(domain.get());
  const std::lock_guard lock(mutex_);
  domains_[uuid] = DomainPtr(domain.get());
  return domain;
}

DomainPtr Link::Kept(const std::string& uuid, const int* id) {
  const std::lock_guard lock(mutex_);
  const auto it = domains_.find(uuid);
  if (it == domains_.end()) return nullptr;
  const virDomainPtr domain = it->second.get();
  if (id != nullptr && static_cast<int>(virDomainGetID(domain)) != *id) return nullptr;
  virDomainRef(domain);
  return DomainPtr(domain);
}

void Link::KeepAll() {
  virDomainPtr* found = nullptr;
  const int count = virConnectListAllDomains(get(), &found, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) return;
  std::unordered_map<std::string, DomainPtr> domains;
  for (auto& domain : TakeDomains(found, count)) {
    std::string uuid = UuidOf(domain.get());
    domains.emplace(std::move(uuid), std::move(domain));
  }
  const std::lock_guard lock(mutex_);
  domains_ = std::move(domains);
}

Links::Links(const std::string& uri, bool read_only, const std::shared_ptr<EventSink>& sink,
             std::unique_ptr<Link> own, std::unique_ptr<Link> first)
    : uri_(uri),
      read_only_(read_only),
      sink_(sink),
      own_(std::move(own)),
      in_process_(own_ != nullptr && own_->InProcess()) {
  if (first != nullptr) free_.push_back(std::move(first));
}

Result<Links::Lease> Links::Take(bool may_open) {
  if (in_process_) return Lease(own_.get());
  {
    std::unique_lock lock(mutex_);
    // Nobody notifies waiting threads when the connection is lost.
    while (!may_open && free_.empty() && !sink_->Closed()) freed_.wait_for(lock, kLostSeen);
    if (!free_.empty()) {
      auto link = std::move(free_.back());
      free_.pop_back();
      return Lease(this, std::move(link));
    }
  }
  // The daemon may hang, and this thread would hang with it.
  if (sink_->Closed())
    return OwnError(kClosed, "cannot connect again to " + uri_, {}, "it was lost");
  auto opened = Link::Open(uri_, read_only_, sink_);
  if (auto* error = std::get_if<Error>(&opened)) return std::move(*error);
  return Lease(this, std::move(std::get<std::unique_ptr<Link>>(opened)));
}

void Links::Prepare(size_t count) {
  if (in_process_) return;
  {
    const std::lock_guard lock(mutex_);
    if (free_.size() >= count) return;
  }
  auto opened = Link::Open(uri_, read_only_, sink_);
  if (std::holds_alternative<Error>(opened)) return;
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(std::get<std::unique_ptr<Link>>(opened)));
  freed_.notify_one();
}

Links::Lease::~Lease() {
  if (owned_ == nullptr) return;
  // A link that is not kept is closed after this body, when the lock is no longer held.
  const std::lock_guard lock(owner_->mutex_);
  if (owner_->free_.size() >= kMostFree) return;
  owner_->free_.push_back(std::move(owned_));
  owner_->freed_.notify_one();
}

}  // namespace memcoord
