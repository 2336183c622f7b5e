// In place of thread.cc: threads that are used again, and an end of them that can be waited for.
//
// An input ends only when none of its threads runs any more. Otherwise the next input would meet
// what is left of it, and nobody could tell what it has lost.
#ifndef MEMCOORD_FUZZ_THREADS_H_
#define MEMCOORD_FUZZ_THREADS_H_

namespace memcoord {

// The threads that run now never end.
void KeepThreads();

// Returns when the bodies of all other threads have ended and are freed.
void AwaitThreads();

}  // namespace memcoord

#endif  // MEMCOORD_FUZZ_THREADS_H_
