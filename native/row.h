// One reading of one guest, as numbers.
#ifndef MEMCOORD_ROW_H_
#define MEMCOORD_ROW_H_

#include <array>
#include <cstddef>
#include <limits>

namespace memcoord {

// The numbers of a row and what they mean: lib/sweep.ts.
enum Field : size_t {
  kStatus,
  kError,
  kState,
  kMaximum,
  kActual,
  kUnused,
  kAvailable,
  kUsable,
  kDiskCaches,
  kSwapIn,
  kSwapOut,
  kMajorFault,
  kMinorFault,
  kRss,
  kLastUpdate,
  kReadAt,
  kRefreshed,
  // Both left to the caller.
  kCpuTime,
  kRssFile,
  kReads,
  kJob,
  kStride,
};

// Names of the fields in lib/sweep.ts, in order.
inline constexpr std::array<const char*, kStride> kFieldNames = {
    "STATUS",      "ERROR",  "STATE",       "MAXIMUM", "ACTUAL",    "UNUSED",
    "AVAILABLE",   "USABLE", "DISK_CACHES", "SWAP_IN", "SWAP_OUT",  "MAJOR_FAULT",
    "MINOR_FAULT", "RSS",    "LAST_UPDATE", "READ_AT", "REFRESHED", "CPU_TIME",
    "RSS_FILE",    "READS",  "JOB",
};

// Values of kStatus.
enum Status { kRead = 0, kFailed = 1, kMissed = 2, kSetAside = 3, kNotAsked = 4 };

using Row = std::array<double, kStride>;

inline constexpr double kNotReported = std::numeric_limits<double>::quiet_NaN();

inline Row EmptyRow() {
  Row row;
  row.fill(kNotReported);
  return row;
}

}  // namespace memcoord

#endif  // MEMCOORD_ROW_H_
