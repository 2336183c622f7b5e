// Threads for libvirt calls.
//
// Not libuv's: its pool has four threads for the whole process, and four calls that hang would stop
// every fs, dns and crypto call of the program that uses us.
#ifndef MEMCOORD_WORKER_POOL_H_
#define MEMCOORD_WORKER_POOL_H_

#include <cstddef>
#include <functional>
#include <memory>

namespace memcoord {

// Threads, started as they are needed, that take tasks in the order given.
//
// The destructor does not wait: tasks already given still run, then the threads end. So a task owns
// what it uses, and may itself be the last owner of the pool.
class WorkerPool {
 public:
  // Calls in flight for one purpose. Four are twice as fast as one on two cores.
  static constexpr size_t kThreads = 4;

  // `name` is that of the threads. Throws std::system_error if no thread can be started.
  explicit WorkerPool(const char* name);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Never blocks, never fails.
  void Submit(std::function<void()> task);

  // Sets the largest number of threads, kThreads by default. Those in excess end after their task.
  void SetLimit(size_t limit);

 private:
  struct Shared;
  // Starts the threads that the tasks need.
  void Grow();
  static void Work(const std::shared_ptr<Shared>& shared);

  const char* const name_;
  // Also owned by each thread: outlives the pool until the last thread has ended.
  const std::shared_ptr<Shared> shared_;
};

}  // namespace memcoord

#endif  // MEMCOORD_WORKER_POOL_H_
