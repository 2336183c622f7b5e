#ifndef MEMCOORD_ONCE_H_
#define MEMCOORD_ONCE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "error.h"

namespace memcoord {

// Receives what a call came to, on whichever thread that is. Called exactly once.
template <typename T>
using Callback = std::function<void(Result<T>)>;

// Shared by those who race to answer, a call and its deadline: the first is heard.
template <typename T>
Callback<T> Once(Callback<T> callback) {
  return [told = std::make_shared<std::atomic_flag>(),
          callback = std::move(callback)](Result<T> result) {
    if (!told->test_and_set()) callback(std::move(result));
  };
}

}  // namespace memcoord

#endif  // MEMCOORD_ONCE_H_
