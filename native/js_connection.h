// The object that JavaScript holds: checks arguments, copies them into plain values, starts the
// call.
#ifndef MEMCOORD_JS_CONNECTION_H_
#define MEMCOORD_JS_CONNECTION_H_

#include <napi.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "connection.h"
#include "sampler.h"
#include "session.h"

namespace memcoord {

// NativeConnection of lib/libvirt/native.ts.
class JsConnection : public Napi::ObjectWrap<JsConnection> {
 public:
  static Napi::Function Define(Napi::Env env);
  // open(uri, { readOnly, deadlineMs }) of NativeBinding.
  static Napi::Value Open(const Napi::CallbackInfo& info);

  // Only for Open: takes over Environment::newborn.
  explicit JsConnection(const Napi::CallbackInfo& info);
  // Run by the garbage collector or at the end of the environment. Does not wait: calls in flight
  // own the session, and the last of them closes it.
  ~JsConnection() override;

  void Hear(const Event& event);

 private:
  Napi::Value Sample(const Napi::CallbackInfo& info);
  Napi::Value SetMemory(const Napi::CallbackInfo& info);
  Napi::Value SetStatsPeriod(const Napi::CallbackInfo& info);
  Napi::Value Describe(const Napi::CallbackInfo& info);
  Napi::Value NodeMemory(const Napi::CallbackInfo& info);
  Napi::Value Capabilities(const Napi::CallbackInfo& info);
  void OnEvent(const Napi::CallbackInfo& info);
  Napi::Value IsAlive(const Napi::CallbackInfo& info);
  Napi::Value Close(const Napi::CallbackInfo& info);

  // A promise of the result of `call`; rejected if the connection is closed.
  template <typename T>
  Napi::Value Promise(const Napi::CallbackInfo& info, const std::function<void(Callback<T>)>& call,
                      std::function<Napi::Value(const Napi::Object&, T&)> convert);

  // Null once closed.
  std::shared_ptr<Session> session_;
  // Outlives the session: close may be called again.
  std::shared_ptr<ClosedLatch> closed_;
  // Key in Environment.
  std::uint64_t id_ = 0;
  // Guests of the last sweep that was delivered; null before the first.
  std::shared_ptr<const Guests> guests_;
};

}  // namespace memcoord

#endif  // MEMCOORD_JS_CONNECTION_H_
