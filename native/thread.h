#ifndef MEMCOORD_THREAD_H_
#define MEMCOORD_THREAD_H_

#include <functional>

namespace memcoord {

// Runs `body` on a thread that nobody joins: it must own all that it uses, by shared_ptr. Joining
// is not possible, since a libvirt call may take 30 s or for ever, and neither the end of a Node
// environment nor that of the process may wait for it.
//
// The name (15 characters at most) shows in top -H and debuggers. The thread takes no signals: they
// belong to the program that loaded us.
//
// Throws std::system_error if the system has no thread left.
void StartThread(const char* name, std::function<void()> body);

}  // namespace memcoord

#endif  // MEMCOORD_THREAD_H_
