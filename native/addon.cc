// The addon's exports: NativeBinding of lib/libvirt/native.ts.
#include <libvirt/libvirt.h>
#include <napi.h>

#include <cstdint>
#include <memory>

#include "environment.h"
#include "js_connection.h"
#include "sampler.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  using memcoord::Environment;
  using memcoord::JsConnection;

  env.SetInstanceData(std::make_unique<Environment>(env).release());
  Environment::Of(env).connection_class() = Napi::Persistent(JsConnection::Define(env));

  unsigned long version = 0;  // NOLINT(google-runtime-int): libvirt's type
  virGetVersion(&version, nullptr, nullptr);
  exports.Set("libvirtVersion", static_cast<double>(version));

  Napi::Array fields = Napi::Array::New(env, memcoord::kStride);
  for (std::uint32_t i = 0; i < memcoord::kStride; ++i) {
    fields.Set(i, memcoord::kFieldNames[i]);
  }
  exports.Set("fields", fields);

  exports.Set("open", Napi::Function::New<JsConnection::Open>(env, "open"));
  return exports;
}

}  // namespace

NODE_API_MODULE(memcoord, Init)
