#include "js_connection.h"

#include <atomic>
#include <functional>
#include <string>
#include <system_error>
#include <utility>

#include "calls.h"
#include "environment.h"
#include "js_values.h"
#include "once.h"
#include "thread.h"

namespace memcoord {
namespace {

// The listener is a property of the object itself, not a reference of ours. A reference would be a
// root: a listener that knows its connection would keep it from ever being collected.
constexpr const char* kListener = "memcoord.listener";

Napi::Symbol ListenerKey(Napi::Env env) { return Napi::Symbol::For(env, std::string(kListener)); }

Error Closed() { return OwnError(kClosed, "cannot use the connection", {}, "it was closed"); }

struct Opening {
  std::string uri;
  bool read_only;
  std::shared_ptr<Timer> timer;
  // Environment::overdue_opens.
  std::shared_ptr<std::atomic<int>> overdue;
};

// If the daemon hangs, each holds a thread until the daemon goes on or ends.
constexpr int kMostOverdueOpens = 4;

void StartOpening(const Opening& opening, Clock::time_point deadline,
                  Callback<std::shared_ptr<Session>> done) {
  const std::string doing = "cannot connect to " + opening.uri;
  if (*opening.overdue >= kMostOverdueOpens) {
    return done(OwnError(kBusy, doing, {}, "earlier attempts have not come back"));
  }
  enum class State { kOpening, kOverdue, kReturned };
  const auto state = std::make_shared<std::atomic<State>>(State::kOpening);
  const auto answer = Once(std::move(done));
  const auto timeout = opening.timer->At(deadline, [answer, doing, state, opening] {
    auto expected = State::kOpening;
    if (!state->compare_exchange_strong(expected, State::kOverdue)) return;
    ++*opening.overdue;
    answer(OwnError(kDeadline, doing, {}, "no answer in time"));
  });
  try {
    StartThread("memcoord-open", [answer, state, opening, timeout] {
      auto session = OpenSession(opening.uri, opening.read_only, opening.timer);
      if (state->exchange(State::kReturned) == State::kOverdue) --*opening.overdue;
      opening.timer->Cancel(timeout);
      answer(std::move(session));
    });
  } catch (const std::system_error& error) {
    opening.timer->Cancel(timeout);
    answer(OwnError(kNoThread, doing, {}, error.what()));
  }
}

}  // namespace

Napi::Function JsConnection::Define(Napi::Env env) {
  return DefineClass(env, "NativeConnection",
                     {
                         InstanceMethod<&JsConnection::Sample>("sample"),
                         InstanceMethod<&JsConnection::SetMemory>("setMemory"),
                         InstanceMethod<&JsConnection::SetStatsPeriod>("setStatsPeriod"),
                         InstanceMethod<&JsConnection::Describe>("describe"),
                         InstanceMethod<&JsConnection::NodeMemory>("nodeMemory"),
                         InstanceMethod<&JsConnection::Capabilities>("capabilities"),
                         InstanceMethod<&JsConnection::OnEvent>("onEvent"),
                         InstanceMethod<&JsConnection::IsAlive>("isAlive"),
                         InstanceMethod<&JsConnection::Close>("close"),
                     });
}

Napi::Value JsConnection::Open(const Napi::CallbackInfo& info) {
  const std::string uri = StringArgument(info[0], "uri");
  const Napi::Object options = ObjectArgument(info, 1, "options");
  const bool read_only = options.Get("readOnly").ToBoolean();
  const auto deadline = DeadlineArgument(options);
  Environment& environment = Environment::Of(info.Env());

  return environment.Promise<std::shared_ptr<Session>>(
      environment.connection_class().Value(),
      [&](Callback<std::shared_ptr<Session>> done) {
        StartOpening({uri, read_only, environment.timer(), environment.overdue_opens()}, deadline,
                     std::move(done));
      },
      [](const Napi::Object& call_site, std::shared_ptr<Session>& session) {
        Environment& here = Environment::Of(call_site.Env());
        here.newborn() = std::move(session);
        return here.connection_class().New({});
      });
}

JsConnection::JsConnection(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Environment& environment = Environment::Of(info.Env());
  session_ = std::move(environment.newborn());
  if (session_ == nullptr) {
    throw Napi::TypeError::New(info.Env(), "a NativeConnection is made by open()");
  }
  closed_ = session_->closed;
  id_ = environment.Add(this);
  session_->Listen([mailbox = environment.mailbox(), id = id_](const Event& event) {
    mailbox->Post([id, event](Napi::Env env) {
      if (JsConnection* self = Environment::Of(env).Find(id)) self->Hear(event);
    });
  });
}

JsConnection::~JsConnection() {
  if (session_ != nullptr) session_->events->Listen(nullptr);
  if (id_ != 0) Environment::Of(Env()).Remove(id_);
}

void JsConnection::Hear(const Event& event) {
  const Napi::Object self = Value();
  // Collected, though not finalized yet.
  if (self.IsEmpty()) return;
  const Napi::Value listener = self.Get(ListenerKey(Env()));
  if (!listener.IsFunction()) return;
  try {
    listener.As<Napi::Function>().Call({ToJs(Env(), event)});
  } catch (const Napi::Error& error) {
    // Node itself would only warn of it, once.
    napi_fatal_exception(Env(), error.Value());
  }
}

template <typename T>
Napi::Value JsConnection::Promise(const Napi::CallbackInfo& info,
                                  const std::function<void(Callback<T>)>& call,
                                  std::function<Napi::Value(const Napi::Object&, T&)> convert) {
  return Environment::Of(info.Env())
      .Promise<T>(
          info.This().As<Napi::Object>(),
          [&](Callback<T> done) {
            if (session_ == nullptr) return done(Closed());
            call(std::move(done));
          },
          std::move(convert));
}

Napi::Value JsConnection::Sample(const Napi::CallbackInfo& info) {
  const SampleRequest request = SampleArgument(ObjectArgument(info, 0, "options"));
  return Promise<Sweep>(
      info, [&](Callback<Sweep> done) { memcoord::Sample(session_, request, std::move(done)); },
      [this](const Napi::Object& call_site, Sweep& sweep) {
        const bool changed = guests_ != sweep.guests;
        const Napi::Value value = ToJs(call_site.Env(), sweep, changed);
        if (changed) guests_ = sweep.guests;
        return value;
      });
}

Napi::Value JsConnection::SetMemory(const Napi::CallbackInfo& info) {
  const auto targets = TargetsArgument(info[0]);
  const auto deadline = DeadlineArgument(ObjectArgument(info, 1, "options"));
  using Outcomes = std::vector<Outcome>;
  return Promise<Outcomes>(
      info,
      [&](Callback<Outcomes> done) {
        memcoord::SetMemory(session_, targets, deadline, std::move(done));
      },
      [](const Napi::Object& call_site, Outcomes& outcomes) { return ToJs(call_site, outcomes); });
}

Napi::Value JsConnection::SetStatsPeriod(const Napi::CallbackInfo& info) {
  const std::string uuid = StringArgument(info[0], "uuid");
  const int seconds = SecondsArgument(info[1], "seconds");
  const auto deadline = DeadlineArgument(ObjectArgument(info, 2, "options"));
  return Promise<Done>(
      info,
      [&](Callback<Done> done) {
        memcoord::SetStatsPeriod(session_, uuid, seconds, deadline, std::move(done));
      },
      [](const Napi::Object& call_site, Done&) { return call_site.Env().Undefined(); });
}

Napi::Value JsConnection::Describe(const Napi::CallbackInfo& info) {
  const std::string uuid = StringArgument(info[0], "uuid");
  const Napi::Object options = ObjectArgument(info, 1, "options");
  const std::string metadata_uri = StringArgument(options.Get("metadataUri"), "metadataUri");
  const auto deadline = DeadlineArgument(options);
  return Promise<Description>(
      info,
      [&](Callback<Description> done) {
        memcoord::Describe(session_, uuid, metadata_uri, deadline, std::move(done));
      },
      [](const Napi::Object& call_site, Description& description) {
        return ToJs(call_site.Env(), description);
      });
}

Napi::Value JsConnection::NodeMemory(const Napi::CallbackInfo& info) {
  const auto deadline = DeadlineArgument(ObjectArgument(info, 0, "options"));
  using Memory = memcoord::NodeMemory;
  return Promise<Memory>(
      info, [&](Callback<Memory> done) { ReadNodeMemory(session_, deadline, std::move(done)); },
      [](const Napi::Object& call_site, Memory& memory) { return ToJs(call_site.Env(), memory); });
}

Napi::Value JsConnection::Capabilities(const Napi::CallbackInfo& info) {
  const auto deadline = DeadlineArgument(ObjectArgument(info, 0, "options"));
  return Promise<std::string>(
      info,
      [&](Callback<std::string> done) { ReadCapabilities(session_, deadline, std::move(done)); },
      [](const Napi::Object& call_site, std::string& xml) {
        return Napi::String::New(call_site.Env(), xml);
      });
}

void JsConnection::OnEvent(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction() && !info[0].IsNull()) {
    throw Napi::TypeError::New(info.Env(), "listener must be a function or null");
  }
  const auto hidden = static_cast<napi_property_attributes>(napi_writable | napi_configurable);
  info.This().As<Napi::Object>().DefineProperty(
      Napi::PropertyDescriptor::Value(ListenerKey(info.Env()), info[0], hidden));
}

Napi::Value JsConnection::IsAlive(const Napi::CallbackInfo& info) {
  const bool alive = session_ != nullptr && !session_->events->Closed() && session_->read->Alive();
  return Napi::Boolean::New(info.Env(), alive);
}

Napi::Value JsConnection::Close(const Napi::CallbackInfo& info) {
  const auto deadline = DeadlineArgument(ObjectArgument(info, 0, "options"));
  Environment& environment = Environment::Of(info.Env());
  // Not owned by this object, since closing rejects the object's own promises.
  return environment.Promise<Done>(
      environment.connection_class().Value(),
      [&](Callback<Done> done) {
        const auto answer = Once(std::move(done));
        const auto timer = environment.timer();
        const auto timeout = timer->At(deadline, [answer] { answer(Done{}); });
        closed_->OnClosed([answer, timer, timeout] {
          timer->Cancel(timeout);
          answer(Done{});
        });
        if (session_ != nullptr) session_->events->Listen(nullptr);
        // From here on, only calls in flight own the session.
        session_ = nullptr;
      },
      [id = id_](const Napi::Object& call_site, Done&) {
        Environment& here = Environment::Of(call_site.Env());
        if (const JsConnection* found = here.Find(id)) {
          // Empty if collected, though not finalized yet: then none of its promises is pending.
          const Napi::Object self = found->Value();
          if (!self.IsEmpty()) here.RejectAll(self, Closed());
        }
        return call_site.Env().Undefined();
      });
}

}  // namespace memcoord
