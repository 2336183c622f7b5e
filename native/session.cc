#include "session.h"

#include <system_error>
#include <utility>

#include "event_loop.h"

namespace memcoord {
namespace {

// Links that are closed on a thread of `pool`, whichever thread releases them last.
std::shared_ptr<Links> ClosedOn(const std::shared_ptr<WorkerPool>& pool,
                                const std::shared_ptr<ClosedLatch>& closed,
                                std::unique_ptr<Links> links) {
  const auto close = [pool, closed](Links* last) {
    pool->Submit([last, closed] {
      std::unique_ptr<Links>(last).reset();
      closed->LinksClosed();
    });
  };
  return std::shared_ptr<Links>(links.release(), close);
}

}  // namespace

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

void ClosedLatch::LinksClosed() {
  std::vector<std::function<void()>> callbacks;
  {
    const std::lock_guard lock(mutex_);
    if (--links_ > 0) return;
    callbacks.swap(callbacks_);
  }
  for (const auto& callback : callbacks) callback();
}

void Session::Listen(std::function<void(const Event&)> listener) const {
  events->Listen([roster = roster, listener = std::move(listener)](const Event& event) {
    if (event.kind == Event::Kind::kDeviceAdded) roster->ForgetMaximum(event.uuid);
    // The first pass of a job is news, the others are not.
    if (event.kind == Event::Kind::kJob && !roster->BeginJob(event.uuid)) return;
    if (event.kind == Event::Kind::kLifecycle) {
      if (event.code == VIR_DOMAIN_EVENT_STARTED)
        roster->Started({event.uuid, event.name, event.id});
      if (event.code == VIR_DOMAIN_EVENT_STOPPED) roster->Stopped(event.uuid);
    }
    listener(event);
  });
}

Result<std::shared_ptr<Session>> OpenSession(const std::string& uri, bool read_only,
                                             std::shared_ptr<Timer> timer) {
  if (auto failure = StartEventLoop()) return *failure;

  const auto session = std::make_shared<Session>();
  session->read_only = read_only;
  session->timer = std::move(timer);
  session->events = std::make_shared<EventSink>();
  session->roster = std::make_shared<Roster>();
  session->lister = std::make_shared<Lister>();

  auto read = Link::Open(uri, read_only, session->events);
  if (auto* error = std::get_if<Error>(&read)) return std::move(*error);
  auto& reading = std::get<std::unique_ptr<Link>>(read);
  reading->WatchDomains();
  const bool single = read_only || reading->InProcess();
  std::unique_ptr<Link> controlling;
  if (!single) {
    auto control = Link::Open(uri, read_only, session->events);
    if (auto* error = std::get_if<Error>(&control)) return std::move(*error);
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
  const auto links = [&](std::unique_ptr<Link> own, std::unique_ptr<Link> first,
                         const std::shared_ptr<WorkerPool>& pool) {
    return ClosedOn(
        pool, session->closed,
        std::make_unique<Links>(uri, read_only, session->events, std::move(own), std::move(first)));
  };
  session->read = links(std::move(reading), nullptr, session->read_pool);
  session->control =
      single ? session->read : links(nullptr, std::move(controlling), session->control_pool);
  return session;
}

}  // namespace memcoord
