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

// At most `limit` threads, started as they are needed, that take tasks in the order given.
//
// The destructor waits for nobody: tasks already given are still run, then the threads end. So a
// task owns what it uses, and may itself be the last owner of the pool.
class WorkerPool {
 public:
  // libvirtd serves 5 requests of a connection at a time, and keepalives count among them
  // (max_client_requests in libvirtd.conf).
  static constexpr size_t kCallsPerConnection = 4;

  // `name` is that of the threads. Throws std::system_error where there is no thread to be had.
  explicit WorkerPool(const char* name, size_t limit = kCallsPerConnection);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Never blocks, never fails.
  void Submit(std::function<void()> task);

 private:
  struct Shared;
  static void Work(const std::shared_ptr<Shared>& shared);

  const char* const name_;
  // Also owned by each thread: outlives the pool until the last thread has ended.
  const std::shared_ptr<Shared> shared_;
};

}  // namespace memcoord

#endif  // MEMCOORD_WORKER_POOL_H_
