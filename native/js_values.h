// Converts plain values to JavaScript and back: the only place that knows both. Types:
// lib/libvirt/native.ts.
#ifndef MEMCOORD_JS_VALUES_H_
#define MEMCOORD_JS_VALUES_H_

#include <napi.h>

#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "calls.h"
#include "connection.h"
#include "error.h"
#include "sampler.h"

namespace memcoord {

// An Error made now for its stack: when a call fails, the caller's JavaScript is long gone.
Napi::Object CallSite(Napi::Env env);
// The only maker of LibvirtErrors.
Napi::Object ToJs(const Napi::Object& call_site, const Error& error);

// `guests` is left out if `with_guests` is false.
Napi::Value ToJs(Napi::Env env, const Sweep& sweep, bool with_guests);
Napi::Value ToJs(const Napi::Object& call_site, const std::vector<Outcome>& outcomes);
Napi::Value ToJs(Napi::Env env, const Description& description);
Napi::Value ToJs(Napi::Env env, const NodeMemory& memory);
Napi::Value ToJs(Napi::Env env, const Event& event);

// Arguments. All throw a TypeError about `name` if the value is not allowed.
Napi::Object ObjectArgument(const Napi::CallbackInfo& info, size_t index, const char* name);
std::string StringArgument(const Napi::Value& value, const char* name);
// A whole number of seconds, not negative.
int SecondsArgument(const Napi::Value& value, const char* name);
// `deadlineMs` of an options object, from now.
Clock::time_point DeadlineArgument(const Napi::Object& options);
SampleRequest SampleArgument(const Napi::Object& options);
std::vector<MemoryTarget> TargetsArgument(const Napi::Value& value);

}  // namespace memcoord

#endif  // MEMCOORD_JS_VALUES_H_
