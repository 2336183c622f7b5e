// One reading of all guests, in parallel, with a deadline. Knows nothing of JavaScript.
#ifndef MEMCOORD_SAMPLER_H_
#define MEMCOORD_SAMPLER_H_

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "once.h"
#include "roster.h"
#include "row.h"
#include "session.h"
#include "timer.h"

namespace memcoord {

struct Sweep {
  // In the order of the rows. The same list as the last sweep's where nothing in it has changed.
  std::shared_ptr<const Guests> guests;
  std::vector<Row> rows;
};

struct SampleRequest {
  Clock::time_point deadline;
  // UUIDs; nullopt = all.
  std::optional<std::unordered_set<std::string>> only;
  // Stats periods, seconds, of the guests (by UUID) that are to take new figures first.
  std::unordered_map<std::string, int> refresh;
  // UUIDs of the guests whose kReads is wanted, as far as they are read.
  std::unordered_set<std::string> reads;
};

// Answers by the deadline with what has arrived. Fails with ERR_MEMCOORD_DEADLINE if the list of
// guests has not arrived, nor any reading of the known guests, which are read while it is late.
void Sample(const std::shared_ptr<Session>& session, SampleRequest request, Callback<Sweep> done);

}  // namespace memcoord

#endif  // MEMCOORD_SAMPLER_H_
