#include "event_loop.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <thread>

#include "thread.h"

namespace memcoord {
namespace {

// Every error reaches JavaScript; libvirt's default is to print it to stderr as well.
void Silence(void*, virErrorPtr) {}

void RunForEver() {
  for (;;) {
    if (virEventRunDefaultImpl() == 0) continue;
    // It fails only where the system is out of memory or descriptors: give it time to recover.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

std::optional<Error> Start() {
  if (virInitialize() < 0) return LastLibvirtError("cannot start libvirt");
  virSetErrorFunc(nullptr, Silence);
  if (virEventRegisterDefaultImpl() < 0)
    return LastLibvirtError("cannot start libvirt's event loop");
  try {
    StartThread("memcoord-events", RunForEver);
  } catch (const std::system_error& error) {
    return OwnError(kNoThread, "cannot start libvirt's event loop", {}, error.what());
  }
  return std::nullopt;
}

}  // namespace

std::optional<Error> StartEventLoop() {
  // Never freed: a thread that still opens a connection when the process ends may read it.
  static const auto& failure = *std::make_unique<std::optional<Error>>(Start()).release();
  return failure;
}

}  // namespace memcoord
