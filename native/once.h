#ifndef MEMCOORD_ONCE_H_
#define MEMCOORD_ONCE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "error.h"

namespace memcoord {

// Receives the result of a call, on any thread. Called exactly once.
template <typename T>
using Callback = std::function<void(Result<T>)>;

// Shared by a call and its deadline, which race to answer: only the first counts.
template <typename T>
Callback<T> Once(Callback<T> callback) {
  return [told = std::make_shared<std::atomic_flag>(),
          callback = std::move(callback)](Result<T> result) {
    if (!told->test_and_set()) callback(std::move(result));
  };
}

}  // namespace memcoord

#endif  // MEMCOORD_ONCE_H_
