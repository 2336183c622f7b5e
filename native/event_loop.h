// The event loop of libvirt, which keepalive, close callbacks and domain events need.
#ifndef MEMCOORD_EVENT_LOOP_H_
#define MEMCOORD_EVENT_LOOP_H_

#include <optional>

#include "error.h"

namespace memcoord {

// Starts libvirt and its event loop, once a process: libvirt has one loop for all connections,
// which must be registered before the first one is opened and can never be removed. So its thread,
// the only global of the addon, runs until the process ends.
//
// The loop is our own. Each call on a connection wakes libvirt's default loop three times (its
// handle off and on again, keepalive postponed), which took 30 % of a sweep's CPU time.
//
// Without the loop a call to a libvirtd that hangs would block for ever.
std::optional<Error> StartEventLoop();

}  // namespace memcoord

#endif  // MEMCOORD_EVENT_LOOP_H_
