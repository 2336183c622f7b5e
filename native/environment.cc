#include "environment.h"

#include <vector>

#include "js_values.h"

namespace memcoord {

std::shared_ptr<Mailbox> Mailbox::Create(Napi::Env env) {
  auto mailbox = std::make_shared<Mailbox>();
  // The bell keeps its mailbox alive until the environment has freed the bell.
  mailbox->bell_ =
      Bell::New(env, "memcoord", 0, 1, mailbox.get(), [mailbox](Napi::Env, void*, Mailbox*) {});
  // An idle connection does not keep a program running.
  mailbox->bell_.Unref(env);
  // Hooks run in reverse order: this one before the one that frees the bell.
  env.AddCleanupHook([mailbox] { mailbox->Close(); });
  return mailbox;
}

void Mailbox::Post(Letter letter) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  letters_.push(std::move(letter));
  // Does not block, as its queue has no bound.
  bell_.NonBlockingCall();
}

void Mailbox::Hold(Napi::Env env) {
  if (holds_++ == 0) bell_.Ref(env);
}

void Mailbox::Release(Napi::Env env) {
  if (--holds_ == 0) bell_.Unref(env);
}

void Mailbox::Close() {
  std::queue<Letter> undelivered;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  undelivered.swap(letters_);
}

// Called once for each letter.
void Mailbox::Deliver(Napi::Env env, Napi::Function, Mailbox* mailbox, void*) {
  Letter letter;
  {
    const std::lock_guard lock(mailbox->mutex_);
    if (mailbox->letters_.empty()) return;
    letter = std::move(mailbox->letters_.front());
    mailbox->letters_.pop();
  }
  const Napi::HandleScope scope(env);
  letter(env);
}

Environment::Environment(Napi::Env env)
    : mailbox_(Mailbox::Create(env)), timer_(std::make_shared<Timer>()) {}

void Environment::RejectAll(const Napi::Object& owner, const Error& error) {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, pending] : pending_) {
    if (pending.owner.Value().StrictEquals(owner)) ids.push_back(id);
  }
  for (const auto id : ids) {
    Settle(owner.Env(), id, [&](const Napi::Object&) -> Result<Napi::Value> { return error; });
  }
}

std::uint64_t Environment::Add(JsConnection* connection) {
  connections_.emplace(++last_id_, connection);
  return last_id_;
}

JsConnection* Environment::Find(std::uint64_t id) const {
  const auto it = connections_.find(id);
  return it == connections_.end() ? nullptr : it->second;
}

Napi::Value Environment::Expect(std::uint64_t id, const Napi::Object& owner) {
  const Napi::Env env = owner.Env();
  const auto deferred = Napi::Promise::Deferred::New(env);
  pending_.emplace(id, Pending{deferred, Napi::Persistent(owner), Napi::Persistent(CallSite(env))});
  mailbox_->Hold(env);
  return deferred.Promise();
}

void Environment::Settle(Napi::Env env, std::uint64_t id,
                         const std::function<Result<Napi::Value>(const Napi::Object&)>& make) {
  const auto it = pending_.find(id);
  if (it == pending_.end()) return;
  const Pending pending = std::move(it->second);
  pending_.erase(it);
  mailbox_->Release(env);
  const Napi::Object call_site = pending.call_site.Value();
  const auto result = make(call_site);
  if (const auto* error = std::get_if<Error>(&result)) {
    pending.deferred.Reject(ToJs(call_site, *error));
  } else {
    pending.deferred.Resolve(std::get<Napi::Value>(result));
  }
}

}  // namespace memcoord
