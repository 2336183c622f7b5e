// The event loop of libvirt, which keepalive, close callbacks and domain events need.
#ifndef MEMCOORD_EVENT_LOOP_H_
#define MEMCOORD_EVENT_LOOP_H_

#include <optional>

#include "error.h"

namespace memcoord {

// Starts libvirt and its event loop, once a process: libvirt has one loop for all connections, it
// must be registered before the first one is opened, and it can never be taken away again. So its
// thread, the only global of the addon, runs until the process ends.
//
// It is a loop of our own. libvirt's default one is woken three times by each call on a connection
// (its handle off and on again, the keepalive put off), which took 30 % of a sweep's CPU time.
//
// Without the loop a call to a libvirtd that hangs would block for ever.
std::optional<Error> StartEventLoop();

}  // namespace memcoord

#endif  // MEMCOORD_EVENT_LOOP_H_
