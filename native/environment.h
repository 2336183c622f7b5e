// What the addon keeps for each Node environment (the main thread, each worker), and the way back
// into its JavaScript thread.
#ifndef MEMCOORD_ENVIRONMENT_H_
#define MEMCOORD_ENVIRONMENT_H_

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <queue>
#include <unordered_map>
#include <utility>

#include "error.h"
#include "once.h"
#include "timer.h"

namespace memcoord {

class JsConnection;
struct Session;

// Carries work from any thread to the JavaScript thread of one environment.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  using Letter = std::function<void(Napi::Env)>;

  static std::shared_ptr<Mailbox> Create(Napi::Env env);

  // From any thread, at any time: once the environment is gone, letters are discarded. That is
  // safe, since a letter owns no JavaScript value.
  void Post(Letter letter);

  // JavaScript thread only. While held, the environment waits for letters instead of ending.
  void Hold(Napi::Env env);
  void Release(Napi::Env env);

 private:
  static void Deliver(Napi::Env env, Napi::Function, Mailbox* mailbox, void*);
  using Bell = Napi::TypedThreadSafeFunction<Mailbox, void, &Mailbox::Deliver>;

  void Close();

  std::mutex mutex_;
  bool closed_ = false;
  std::queue<Letter> letters_;
  // Not called once closed_: the environment frees it at its end, and threads of ours may outlive
  // it.
  Bell bell_;
  // JavaScript thread only.
  int holds_ = 0;
};

// Instance data of the addon. JavaScript thread only.
class Environment {
 public:
  explicit Environment(Napi::Env env);

  static Environment& Of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }
  // One for all connections.
  const std::shared_ptr<Timer>& timer() const { return timer_; }

  // Makes a promise of the result of a call. `begin` starts the call with a callback that any
  // thread may call, once. `convert` turns the result into a value; the call site is for errors
  // that are part of it. Until the promise is settled, the environment does not end and `owner` is
  // not collected.
  template <typename T>
  Napi::Value Promise(const Napi::Object& owner, const std::function<void(Callback<T>)>& begin,
                      std::function<Napi::Value(const Napi::Object&, T&)> convert) {
    const std::uint64_t id = ++last_id_;
    const Napi::Value promise = Expect(id, owner);
    begin([mailbox = mailbox_, id, convert = std::move(convert)](Result<T> result) {
      mailbox->Post([id, convert, result = std::move(result)](Napi::Env env) mutable {
        Of(env).Settle(env, id, [&](const Napi::Object& call_site) -> Result<Napi::Value> {
          if (auto* error = std::get_if<Error>(&result)) return std::move(*error);
          return convert(call_site, std::get<T>(result));
        });
      });
    });
    return promise;
  }

  // Rejects what is still pending for `owner`.
  void RejectAll(const Napi::Object& owner, const Error& error);

  Napi::FunctionReference& connection_class() { return connection_class_; }
  // Session for the next object of that class: its constructor can take JavaScript values only.
  std::shared_ptr<Session>& newborn() { return newborn_; }
  // How many opens have missed their deadline and are still in flight. Nobody waits for their
  // threads; the count keeps retries from piling them up.
  const std::shared_ptr<std::atomic<int>>& overdue_opens() const { return overdue_opens_; }

  // Open connections by id: an event for one that is gone is discarded.
  std::uint64_t Add(JsConnection* connection);
  void Remove(std::uint64_t id) { connections_.erase(id); }
  JsConnection* Find(std::uint64_t id) const;

 private:
  struct Pending {
    Napi::Promise::Deferred deferred;
    Napi::ObjectReference owner;
    // An Error made by the caller's call, for its stack.
    Napi::ObjectReference call_site;
  };

  Napi::Value Expect(std::uint64_t id, const Napi::Object& owner);
  // Does nothing if the promise is settled already.
  void Settle(Napi::Env env, std::uint64_t id,
              const std::function<Result<Napi::Value>(const Napi::Object&)>& make);

  const std::shared_ptr<Mailbox> mailbox_;
  const std::shared_ptr<Timer> timer_;
  const std::shared_ptr<std::atomic<int>> overdue_opens_ = std::make_shared<std::atomic<int>>(0);
  Napi::FunctionReference connection_class_;
  std::shared_ptr<Session> newborn_;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, Pending> pending_;
  std::unordered_map<std::uint64_t, JsConnection*> connections_;
};

}  // namespace memcoord

#endif  // MEMCOORD_ENVIRONMENT_H_
