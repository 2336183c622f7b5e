#include "connection.h"

#include <libvirt/virterror.h>

#include <array>
#include <system_error>
#include <utility>

#include "event_loop.h"

namespace memcoord {
namespace {

// A daemon that does not answer for (count + 1) x interval seconds is given up: calls in flight
// fail and the close callback fires.
constexpr int kKeepAliveInterval = 1;
constexpr unsigned kKeepAliveCount = 3;

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

// What libvirt is given to call back with, and frees when it never will again.
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
  char uuid[VIR_UUID_STRING_BUFLEN];
  if (virDomainGetUUIDString(domain, uuid) == 0) event.uuid = uuid;
  const char* name = virDomainGetName(domain);
  if (name != nullptr) event.name = name;
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

void OnClose(virConnectPtr, int reason, void* opaque) {
  Event event;
  event.kind = Event::Kind::kClosed;
  event.code = reason;
  Emit(opaque, event);
}

// A link that is closed on a thread of `pool`, whoever gives it up last.
std::shared_ptr<Link> Share(std::unique_ptr<Link> link, std::shared_ptr<WorkerPool> pool,
                            std::shared_ptr<ClosedLatch> closed) {
  const auto close = [pool = std::move(pool), closed = std::move(closed)](Link* last) {
    pool->Submit([last, closed] {
      std::unique_ptr<Link>(last).reset();
      closed->LinkClosed();
    });
  };
  return std::shared_ptr<Link>(link.release(), close);
}

}  // namespace

void EventSink::Listen(std::function<void(const Event&)> listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

void EventSink::Emit(const Event& event) {
  const std::lock_guard lock(mutex_);
  // Both links tell that they were closed; once is enough.
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
  // Fails where it is of no use, as with the test driver: no network.
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
    // Not every driver has every event. Sweeps see what events would have told earlier.
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
}

void ClosedLatch::OnClosed(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (links_ > 0) {
      callbacks_.push_back(std::move(callback));
      return;
    }
  }
  callback();
}

void ClosedLatch::LinkClosed() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (--links_ > 0) return;
    callbacks.swap(callbacks_);
  }
  for (const auto& callback : callbacks) callback();
}

std::string Session::NameOf(const std::string& uuid) const {
  const std::lock_guard lock(mutex_);
  const auto it = names_.find(uuid);
  return it == names_.end() ? std::string() : it->second;
}

void Session::Name(std::unordered_map<std::string, std::string> names) {
  const std::lock_guard lock(mutex_);
  names_ = std::move(names);
}

Result<std::shared_ptr<Session>> OpenSession(const std::string& uri, bool read_only,
                                             std::shared_ptr<Timer> timer) {
  if (auto failure = StartEventLoop()) return *failure;

  const auto session = std::make_shared<Session>();
  session->read_only = read_only;
  session->timer = std::move(timer);
  session->events = std::make_shared<EventSink>();

  auto read = Link::Open(uri, read_only, session->events);
  if (auto* error = std::get_if<Error>(&read)) return *error;
  auto& reading = std::get<std::unique_ptr<Link>>(read);
  reading->WatchDomains();
  const bool single = read_only || reading->InProcess();
  std::unique_ptr<Link> controlling;
  if (!single) {
    auto control = Link::Open(uri, read_only, session->events);
    if (auto* error = std::get_if<Error>(&control)) return *error;
    controlling = std::move(std::get<std::unique_ptr<Link>>(control));
  }

  try {
    session->read_pool = std::make_shared<WorkerPool>("memcoord-read");
    session->control_pool = std::make_shared<WorkerPool>("memcoord-ctrl");
  } catch (const std::system_error& error) {
    return OwnError(kNoThread, "cannot connect to " + uri, {}, error.what());
  }
  session->gate = std::make_shared<GuestGate>(session->read_pool, session->control_pool);
  session->closed = std::make_shared<ClosedLatch>(single ? 1 : 2);
  session->read = Share(std::move(reading), session->read_pool, session->closed);
  session->control = single ? session->read
                            : Share(std::move(controlling), session->control_pool, session->closed);
  return session;
}

}  // namespace memcoord
