// All calls but the sweep. Each returns at once and answers later, at its deadline at the latest,
// on another thread. Knows nothing of JavaScript.
#ifndef MEMCOORD_CALLS_H_
#define MEMCOORD_CALLS_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "error.h"
#include "once.h"
#include "session.h"
#include "timer.h"

namespace memcoord {

struct MemoryTarget {
  std::string uuid;
  unsigned long kib = 0;
};

struct Description {
  std::string xml;
  std::optional<std::string> metadata;
};

// KiB; NaN where not reported.
struct NodeMemory {
  double total;
  double free;
  double buffers;
  double cached;
};

// nullopt = success.
using Outcome = std::optional<Error>;

// virDomainSetMemoryFlags(LIVE), in parallel. One outcome for each target.
void SetMemory(const std::shared_ptr<Session>& session, const std::vector<MemoryTarget>& targets,
               Clock::time_point deadline, Callback<std::vector<Outcome>> done);

// virDomainSetMemoryStatsPeriod(LIVE).
void SetStatsPeriod(const std::shared_ptr<Session>& session, const std::string& uuid, int seconds,
                    Clock::time_point deadline, Callback<Done> done);

// Does not use the guest's monitor, so it answers for a guest that hangs as well and does not wait
// for other calls on the guest.
void Describe(const std::shared_ptr<Session>& session, const std::string& uuid,
              const std::string& metadata_uri, Clock::time_point deadline,
              Callback<Description> done);

void ReadNodeMemory(const std::shared_ptr<Session>& session, Clock::time_point deadline,
                    Callback<NodeMemory> done);

void ReadCapabilities(const std::shared_ptr<Session>& session, Clock::time_point deadline,
                      Callback<std::string> done);

}  // namespace memcoord

#endif  // MEMCOORD_CALLS_H_
