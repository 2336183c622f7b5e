// A libvirt without a daemon: what the fuzz target wants it to say, it says at once.
//
// As with the real one, handles are counted objects on the heap, domains and callbacks hold their
// connection, and errors belong to the thread and are cleared by the next call.
#ifndef MEMCOORD_FUZZ_FAKE_LIBVIRT_H_
#define MEMCOORD_FUZZ_FAKE_LIBVIRT_H_

#include <libvirt/libvirt.h>

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace memcoord::fake {

// What a call fails with, a virErrorNumber: 0 = without a reason; nullopt = it succeeds.
using Failing = std::optional<int>;

// How a list with states tells the state of a guest.
enum class Told { kPlainly, kAsOtherType, kUnderOtherName, kNot };

struct Guest {
  std::string uuid;
  // nullopt: libvirt does not tell it.
  std::optional<std::string> name;
  int id = -1;
  bool runs = false;
  Told told = Told::kPlainly;
  int told_state = VIR_DOMAIN_RUNNING;
  unsigned char state = VIR_DOMAIN_RUNNING;
  unsigned long maximum = 0;
  std::vector<std::pair<int, unsigned long long>> stats;
  long long bytes_read = 0;
  // virDomainJobOperation; negative: there is no job.
  int job = -1;
  Failing lookup;
  Failing info;
  Failing memory_stats;
  Failing block_stats;
  Failing job_stats;
  // VIR_DOMAIN_PAUSED_* or the like.
  int reason = 0;
  // Setting the stats period to 0, then to another value, twice.
  std::array<Failing, 3> period;
};

struct World {
  // Their UUIDs differ.
  std::vector<Guest> guests;
  Failing open;
  Failing uri;
  Failing keepalive;
  Failing close_callback;
  Failing list;
  Failing list_with_states;
  // By event: lifecycle, reboot, balloon, device added, migration iteration.
  std::array<Failing, 5> watch;
  // A watch that ends is called once more, as by an event loop that was about to call it.
  bool last_event = false;
};

// What has been asked since Forget.
struct Seen {
  // With which calls failed, as a row tells it.
  std::set<double> codes;
  // By guest: calls of virDomainGetInfo that succeeded.
  std::vector<int> infos;
};

struct Event {
  // VIR_DOMAIN_EVENT_ID_*; -1 = the connection is lost.
  int kind = -1;
  std::string uuid;
  std::optional<std::string> name;
  int id = -1;
  int type = 0;
  int detail = 0;
  unsigned long long actual = 0;
  std::optional<std::string> alias;
};

// All of them may be called on any thread.

void Reset(World world);
World Now();
Guest GuestNow(size_t at);
void Change(const std::function<void(World&)>& change);
Seen SeenSoFar();
void Forget();
// What virDomainGetInfo told last, by guest; nullopt if it never did.
std::vector<std::optional<unsigned long>> LastMaximums();

// Calls back on the thread of the caller, as libvirt does on that of its event loop: one at a time.
void Emit(const Event& event);

// Called once each, in the next list of guests after it was taken, and in the next memory stats of
// a guest. Null = not.
void OnNextList(std::function<void()> hook);
void OnNextStats(std::function<void()> hook);

// Handles, lists and callbacks that have not been freed, in words; empty if there are none.
std::string Left();

}  // namespace memcoord::fake

#endif  // MEMCOORD_FUZZ_FAKE_LIBVIRT_H_
