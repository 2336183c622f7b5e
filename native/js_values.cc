#include "js_values.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>

namespace memcoord {
namespace {

[[noreturn]] void Throw(Napi::Env env, const std::string& message) {
  Napi::TypeError error = Napi::TypeError::New(env, message);
  error.Set("code", Napi::String::New(env, "ERR_INVALID_ARG_TYPE"));
  throw error;
}

double NumberArgument(const Napi::Value& value, const char* name) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!std::isfinite(number) || number < 0) {
    Throw(value.Env(), std::string(name) + " must be a number, finite and not negative");
  }
  return number;
}

Napi::Array ArrayArgument(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) Throw(value.Env(), std::string(name) + " must be an array");
  return value.As<Napi::Array>();
}

std::vector<std::string> StringsArgument(const Napi::Value& value, const char* name) {
  const Napi::Array array = ArrayArgument(value, name);
  std::vector<std::string> strings;
  strings.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    strings.push_back(StringArgument(array.Get(i), name));
  }
  return strings;
}

// Whole seconds or KiB.
double WholeArgument(const Napi::Value& value, const char* name, double most) {
  const double number = NumberArgument(value, name);
  if (std::floor(number) != number || number > most) {
    Throw(value.Env(), std::string(name) + " must be a whole number and no larger than " +
                           std::to_string(static_cast<std::int64_t>(most)));
  }
  return number;
}

}  // namespace

Napi::Object CallSite(Napi::Env env) { return Napi::Error::New(env, "").Value(); }

Napi::Object ToJs(const Napi::Object& call_site, const Error& error) {
  const Napi::Env env = call_site.Env();
  Napi::Object object = Napi::Error::New(env, error.message).Value();
  object.Set("code", error.code);
  if (error.libvirt_code != 0) {
    object.Set("libvirtCode", error.libvirt_code);
    object.Set("libvirtDomain", error.libvirt_domain);
  }
  if (!error.guest.empty()) object.Set("domain", error.guest);
  const Napi::Value site = call_site.Get("stack");
  if (!site.IsString()) return object;
  // All but the first line, which is about the call site's own, empty message. Node, too, writes
  // the code of its own errors in brackets.
  const std::string stack = site.As<Napi::String>();
  const auto frames = stack.find('\n');
  object.Set("stack", "Error [" + error.code + "]: " + error.message +
                          (frames == std::string::npos ? "" : stack.substr(frames)));
  return object;
}

Napi::Value ToJs(Napi::Env env, const Sweep& sweep, bool with_guests) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Float64Array figures = Napi::Float64Array::New(env, sweep.rows.size() * kStride);
  double* next = figures.Data();
  for (const Row& row : sweep.rows) next = std::copy(row.begin(), row.end(), next);
  object.Set("figures", figures);
  if (with_guests) {
    const Guests& found = *sweep.guests;
    Napi::Array guests = Napi::Array::New(env, found.size());
    for (size_t i = 0; i < found.size(); ++i) {
      Napi::Object guest = Napi::Object::New(env);
      guest.Set("uuid", found[i].uuid);
      guest.Set("name", found[i].name);
      guest.Set("id", found[i].id);
      guests.Set(static_cast<std::uint32_t>(i), guest);
    }
    object.Set("guests", guests);
  }
  return object;
}

Napi::Value ToJs(const Napi::Object& call_site, const std::vector<Outcome>& outcomes) {
  const Napi::Env env = call_site.Env();
  Napi::Array array = Napi::Array::New(env, outcomes.size());
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const auto index = static_cast<std::uint32_t>(i);
    if (outcomes[i]) {
      array.Set(index, ToJs(call_site, *outcomes[i]));
    } else {
      array.Set(index, env.Null());
    }
  }
  return array;
}

Napi::Value ToJs(Napi::Env env, const Description& description) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("xml", description.xml);
  object.Set("metadata", description.metadata
                             ? Napi::Value(Napi::String::New(env, *description.metadata))
                             : env.Null());
  return object;
}

Napi::Value ToJs(Napi::Env env, const NodeMemory& memory) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("total", memory.total);
  object.Set("free", memory.free);
  object.Set("buffers", memory.buffers);
  object.Set("cached", memory.cached);
  return object;
}

Napi::Value ToJs(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  if (event.kind == Event::Kind::kClosed) {
    object.Set("kind", "closed");
    object.Set("reason", event.code);
    return object;
  }
  object.Set("uuid", event.uuid);
  object.Set("name", event.name);
  switch (event.kind) {
    case Event::Kind::kLifecycle:
      object.Set("kind", "lifecycle");
      object.Set("event", event.code);
      object.Set("detail", event.detail);
      break;
    case Event::Kind::kReboot:
      object.Set("kind", "reboot");
      break;
    case Event::Kind::kBalloon:
      object.Set("kind", "balloon");
      object.Set("actual", static_cast<double>(event.actual));
      break;
    case Event::Kind::kDeviceAdded:
      object.Set("kind", "deviceAdded");
      object.Set("alias", event.alias);
      break;
    case Event::Kind::kJob:
      object.Set("kind", "job");
      break;
    case Event::Kind::kClosed:
      break;
  }
  return object;
}

Napi::Object ObjectArgument(const Napi::CallbackInfo& info, size_t index, const char* name) {
  if (!info[index].IsObject()) Throw(info.Env(), std::string(name) + " must be an object");
  return info[index].As<Napi::Object>();
}

std::string StringArgument(const Napi::Value& value, const char* name) {
  if (!value.IsString()) Throw(value.Env(), std::string(name) + " must be a string");
  return value.As<Napi::String>();
}

int SecondsArgument(const Napi::Value& value, const char* name) {
  return static_cast<int>(WholeArgument(value, name, std::numeric_limits<int>::max()));
}

Clock::time_point DeadlineArgument(const Napi::Object& options) {
  const double ms = NumberArgument(options.Get("deadlineMs"), "deadlineMs");
  // A day is as good as for ever, and the clock cannot overflow.
  constexpr double kMost = 24.0 * 60 * 60 * 1000;
  return Clock::now() + std::chrono::microseconds(std::llround(std::min(ms, kMost) * 1000));
}

SampleRequest SampleArgument(const Napi::Object& options) {
  SampleRequest request;
  request.deadline = DeadlineArgument(options);
  const Napi::Value only = options.Get("only");
  if (!only.IsUndefined()) {
    const auto uuids = StringsArgument(only, "only");
    request.only.emplace(uuids.begin(), uuids.end());
  }
  const Napi::Value reads = options.Get("reads");
  if (!reads.IsUndefined()) {
    const auto uuids = StringsArgument(reads, "reads");
    request.reads.insert(uuids.begin(), uuids.end());
  }
  const Napi::Value refresh = options.Get("refresh");
  if (!refresh.IsUndefined()) {
    const Napi::Array entries = ArrayArgument(refresh, "refresh");
    for (std::uint32_t i = 0; i < entries.Length(); ++i) {
      const Napi::Value entry = entries.Get(i);
      if (!entry.IsObject()) Throw(entry.Env(), "an entry of refresh must be an object");
      const auto fields = entry.As<Napi::Object>();
      request.refresh[StringArgument(fields.Get("uuid"), "uuid")] =
          SecondsArgument(fields.Get("seconds"), "seconds");
    }
  }
  return request;
}

std::vector<MemoryTarget> TargetsArgument(const Napi::Value& value) {
  const Napi::Array array = ArrayArgument(value, "moves");
  std::vector<MemoryTarget> targets;
  targets.reserve(array.Length());
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value entry = array.Get(i);
    if (!entry.IsObject()) Throw(entry.Env(), "a move must be an object");
    const auto move = entry.As<Napi::Object>();
    // libvirt's own limit is far lower; beyond this, doubles are no longer exact.
    constexpr double kMost = 9007199254740991;
    targets.push_back({StringArgument(move.Get("uuid"), "uuid"),
                       static_cast<unsigned long>(WholeArgument(move.Get("kib"), "kib", kMost))});
  }
  return targets;
}

}  // namespace memcoord
