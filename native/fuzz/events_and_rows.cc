// A fuzz target: what libvirt could tell, as events, lists of guests and readings, in any order.
//
// An input is a series of steps that change what the fake libvirt tells, emit events or take
// sweeps. After each of them what the session made of it must be right, and after the last one
// nothing may be left.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "../event_loop.h"
#include "../sampler.h"
#include "../session.h"
#include "fake_libvirt.h"
#include "threads.h"

namespace memcoord {
namespace {

constexpr size_t kGuests = 8;
constexpr int kMostSteps = 16;
// A sweep that took longer may have gone on without its list, or have given up guests: the machine
// was busy elsewhere.
constexpr std::chrono::milliseconds kSlow{200};

[[noreturn]] void Violated(const char* what, const std::string& about) {
  std::fprintf(stderr, "violated: %s (%s)\n", what, about.c_str());
  std::abort();
}

void Require(bool holds, const char* what, const std::string& about = {}) {
  if (!holds) Violated(what, about);
}

// The bytes of an input; zeros after its end.
class Input {
 public:
  Input(const std::uint8_t* data, size_t size) : data_(data), left_(size) {}

  bool Empty() const { return left_ == 0; }

  std::uint8_t Byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }
  size_t Below(size_t limit) { return Byte() % limit; }
  // True for one byte in `many`.
  bool Once(size_t many) { return Below(many) == many - 1; }

  std::uint64_t Wide() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | Byte();
    return value;
  }
  std::int32_t Int() { return static_cast<std::int32_t>(Wide() >> 32); }

  // Mostly sizes in KiB, sometimes anything.
  std::uint64_t Figure() {
    switch (Below(4)) {
      case 0:
        return Byte();
      case 1:
        return ~std::uint64_t{Byte()};
      case 2:
        return Wide();
      default:
        return std::uint64_t{Byte()} << 12;
    }
  }

  std::string Text(size_t most) {
    std::string text;
    for (size_t left = Below(most + 1); left > 0 && !Empty(); --left) {
      const std::uint8_t byte = Byte();
      if (byte != 0) text += static_cast<char>(byte);
    }
    return text;
  }

  fake::Failing Failing() {
    constexpr std::array kCodes = {
        VIR_ERR_OK,        VIR_ERR_INTERNAL_ERROR,   VIR_ERR_NO_SUPPORT,  VIR_ERR_RPC,
        VIR_ERR_NO_DOMAIN, VIR_ERR_OPERATION_FAILED, VIR_ERR_AUTH_FAILED,
    };
    const size_t which = Below(2 * kCodes.size());
    if (which < kCodes.size()) return kCodes[which];
    if (which == kCodes.size()) return Int();
    return std::nullopt;
  }

 private:
  const std::uint8_t* data_;
  size_t left_;
};

// The last two are odd: one that libvirt does not tell, and one that is none.
std::string UuidOfSlot(size_t slot) {
  if (slot == kGuests - 2) return {};
  if (slot == kGuests - 1) return "\xff{not a UUID, but as long as one is}";
  return "00000000-0000-0000-0000-00000000000" + std::to_string(slot);
}

fake::World FirstWorld() {
  fake::World world;
  world.guests.resize(kGuests);
  for (size_t slot = 0; slot < kGuests; ++slot) {
    fake::Guest& guest = world.guests[slot];
    guest.uuid = UuidOfSlot(slot);
    guest.name = "guest " + std::to_string(slot);
    guest.runs = slot < 3;
    guest.id = guest.runs ? static_cast<int>(slot) + 1 : -1;
    guest.maximum = 1048576;
    guest.stats = {{VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, 524288},
                   {VIR_DOMAIN_MEMORY_STAT_UNUSED, 131072}};
    // Figures that do arrive are waited for; see Play::allow_refresh_.
    guest.period[0] = VIR_ERR_OPERATION_INVALID;
  }
  return world;
}

std::optional<Field> FieldOfTag(int tag) {
  static const std::map<int, Field> fields = {
      {VIR_DOMAIN_MEMORY_STAT_SWAP_IN, kSwapIn},
      {VIR_DOMAIN_MEMORY_STAT_SWAP_OUT, kSwapOut},
      {VIR_DOMAIN_MEMORY_STAT_MAJOR_FAULT, kMajorFault},
      {VIR_DOMAIN_MEMORY_STAT_MINOR_FAULT, kMinorFault},
      {VIR_DOMAIN_MEMORY_STAT_UNUSED, kUnused},
      {VIR_DOMAIN_MEMORY_STAT_AVAILABLE, kAvailable},
      {VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON, kActual},
      {VIR_DOMAIN_MEMORY_STAT_RSS, kRss},
      {VIR_DOMAIN_MEMORY_STAT_USABLE, kUsable},
      {VIR_DOMAIN_MEMORY_STAT_LAST_UPDATE, kLastUpdate},
      {VIR_DOMAIN_MEMORY_STAT_DISK_CACHES, kDiskCaches},
  };
  const auto it = fields.find(tag);
  return it == fields.end() ? std::nullopt : std::optional(it->second);
}

bool Same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

using Plain = std::tuple<int, std::string, std::string>;

// What a list of the world's guests must be, in any order.
std::multiset<Plain> Running(const fake::World& world) {
  std::multiset<Plain> running;
  for (const fake::Guest& guest : world.guests) {
    if (guest.runs) running.emplace(guest.id, guest.uuid, guest.name.value_or(""));
  }
  return running;
}

const fake::Guest* FindIn(const fake::World& world, const std::string& uuid) {
  const auto it = std::find_if(world.guests.begin(), world.guests.end(),
                               [&](const fake::Guest& guest) { return guest.uuid == uuid; });
  return it == world.guests.end() ? nullptr : &*it;
}

// Answers that come on other threads, each to a call of its own.
template <typename T>
class Answers {
 public:
  Callback<T> Expect() {
    const std::lock_guard lock(shared_->mutex);
    const size_t call = shared_->results.size();
    shared_->results.emplace_back();
    return [shared = shared_, call](Result<T> result) {
      const std::lock_guard again(shared->mutex);
      Require(!shared->results[call], "a call answers once");
      shared->results[call] = std::move(result);
      shared->changed.notify_all();
    };
  }

  // In the order of the calls.
  std::vector<Result<T>> Await() {
    std::unique_lock lock(shared_->mutex);
    std::vector<Result<T>> results;
    shared_->changed.wait(lock, [this] {
      return std::all_of(shared_->results.begin(), shared_->results.end(),
                         [](const auto& result) { return result.has_value(); });
    });
    for (const auto& result : shared_->results) results.push_back(*result);
    return results;
  }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::optional<Result<T>>> results;
  };
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

// One input.
class Play {
 public:
  explicit Play(Input input) : input_(input) {}

  void Run() {
    const size_t mode = input_.Byte();
    const bool read_only = mode % 4 == 1;
    const char* uri = mode % 4 == 2 ? "test:///default" : "fake:///system";
    // Otherwise on one thread, so that the same input always does the same.
    parallel_ = (mode & 0x18) == 0x18;
    listens_to_the_end_ = (mode & 0x18) == 0x08;
    allow_refresh_ = (mode & 0xe0) == 0xe0;
    fake::World world = FirstWorld();
    if ((mode & 4) != 0) ChangeWorld(world);
    fake::Reset(std::move(world));

    auto opened = OpenSession(uri, read_only, std::make_shared<Timer>());
    if (std::holds_alternative<Error>(opened)) {
      Require(!fake::SeenSoFar().codes.empty(), "opening fails only if a call failed");
    } else {
      session_ = std::move(std::get<std::shared_ptr<Session>>(opened));
      roster_ = session_->roster;
      if (!parallel_) {
        session_->read_pool->SetLimit(1);
        session_->control_pool->SetLimit(1);
      }
      Listen();
      for (int step = 0; step < kMostSteps && !input_.Empty(); ++step) Step();
      Close();
    }
    AwaitThreads();
    fake::Reset({});
    Require(fake::Left().empty(), "nothing is left", fake::Left());
  }

 private:
  struct SweepPlan {
    bool expired = false;
    std::optional<std::set<size_t>> only;
    std::map<size_t, int> refresh;
    std::set<size_t> reads;
  };

  // What a sweep is checked against.
  struct Facts {
    SampleRequest request;
    bool closed = false;
    // When the list was taken, and when the guests were read.
    const fake::World& before;
    fake::World now;
    fake::Seen seen;
    std::vector<std::optional<unsigned long>> maximums;

    // Whether a call failed with that number, as a row has it.
    bool HaveFailure(double code) const {
      return seen.codes.count(code) > 0 || (closed && code == VIR_ERR_INTERNAL_ERROR);
    }
  };

  void Step() {
    switch (input_.Below(8)) {
      case 0:
      case 1:
        return ChangeGuest();
      case 2:
      case 3:
        return fake::Emit(AnyEvent());
      case 4:
      case 5:
        return TakeSweep();
      case 6:
        return fake::Change([this](fake::World& world) { ChangeWorld(world); });
      default:
        return DoOther();
    }
  }

  void ChangeWorld(fake::World& world) {
    switch (input_.Below(8)) {
      case 0:
        world.open = input_.Failing();
        return;
      case 1:
        world.uri = input_.Failing();
        return;
      case 2:
        world.keepalive = input_.Failing();
        return;
      case 3:
        world.close_callback = input_.Failing();
        return;
      case 4:
        world.list = input_.Failing();
        return;
      case 5:
        world.list_with_states = input_.Failing();
        return;
      case 6:
        world.watch[input_.Below(world.watch.size())] = input_.Failing();
        return;
      default:
        world.last_event = input_.Once(2);
    }
  }

  void ChangeGuest() {
    fake::Change([this](fake::World& world) { ChangeGuest(world.guests[input_.Below(kGuests)]); });
  }

  void ChangeGuest(fake::Guest& guest) {
    switch (input_.Below(8)) {
      case 0:
        guest.runs = true;
        guest.id = next_id_++;
        return;
      case 1:
        guest.runs = false;
        return;
      case 2:
        guest.id = AnyId(guest.id);
        return;
      case 3:
        guest.name = AnyText();
        return;
      case 4:
        return ChangeStats(guest);
      case 5:
        guest.state = input_.Byte();
        guest.maximum = input_.Figure();
        guest.bytes_read = static_cast<long long>(input_.Figure());
        guest.job = static_cast<int>(input_.Below(16)) - 5;
        guest.reason = static_cast<int>(input_.Below(4));
        return;
      case 6:
        return ChangeFailing(guest);
      default:
        guest.told = static_cast<fake::Told>(input_.Below(4));
        guest.told_state = input_.Once(4) ? input_.Int() : static_cast<int>(input_.Below(9));
    }
  }

  void ChangeStats(fake::Guest& guest) {
    guest.memory_stats = std::nullopt;
    guest.stats.clear();
    // -1 to VIR_DOMAIN_MEMORY_STAT_NR.
    const size_t count = input_.Below(VIR_DOMAIN_MEMORY_STAT_NR + 2);
    if (count == 0) guest.memory_stats = VIR_ERR_OPERATION_FAILED;
    for (size_t i = 1; i < count; ++i) {
      const size_t tag = input_.Below(VIR_DOMAIN_MEMORY_STAT_NR + 3);
      const bool odd = tag == VIR_DOMAIN_MEMORY_STAT_NR + 2;
      guest.stats.emplace_back(odd ? input_.Int() : static_cast<int>(tag), input_.Figure());
    }
  }

  void ChangeFailing(fake::Guest& guest) {
    const size_t which = input_.Below(8);
    const fake::Failing failing = input_.Failing();
    switch (which) {
      case 0:
        guest.lookup = failing;
        return;
      case 1:
        guest.info = failing;
        return;
      case 2:
        guest.memory_stats = failing;
        return;
      case 3:
        guest.block_stats = failing;
        return;
      case 7:
        // The refusal on the destination of a migration, more often than by chance.
        guest.job_stats = input_.Once(2) ? fake::Failing(VIR_ERR_OPERATION_UNSUPPORTED) : failing;
        return;
      case 4:
        if (failing || allow_refresh_) guest.period[0] = failing;
        return;
      default:
        guest.period[which - 4] = failing;
    }
  }

  int AnyId(int same) {
    switch (input_.Below(5)) {
      case 0:
        return next_id_++;
      case 1:
        return -1;
      case 2:
        return input_.Int();
      case 3:
        return static_cast<int>(input_.Below(8));
      default:
        return same;
    }
  }

  std::optional<std::string> AnyText() {
    if (input_.Once(4)) return std::nullopt;
    return input_.Text(input_.Once(8) ? 200 : 3);
  }

  fake::Event AnyEvent() {
    constexpr std::array kKinds = {
        int{VIR_DOMAIN_EVENT_ID_LIFECYCLE},      int{VIR_DOMAIN_EVENT_ID_LIFECYCLE},
        int{VIR_DOMAIN_EVENT_ID_LIFECYCLE},      int{VIR_DOMAIN_EVENT_ID_REBOOT},
        int{VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE}, int{VIR_DOMAIN_EVENT_ID_DEVICE_ADDED},
        int{VIR_DOMAIN_EVENT_ID_DEVICE_ADDED},   int{VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION}};
    const size_t kind = input_.Below(4 * kKinds.size());
    fake::Event event;
    event.kind = kind == 4 * kKinds.size() - 1 ? -1 : kKinds[kind % kKinds.size()];
    const size_t slot = input_.Below(kGuests + 1);
    const auto guest = slot < kGuests ? fake::GuestNow(slot) : fake::Guest{};
    event.uuid = slot < kGuests ? guest.uuid : input_.Text(VIR_UUID_STRING_BUFLEN - 1);
    event.name = input_.Once(4) ? AnyText() : guest.name;
    event.id = AnyId(guest.id);
    switch (input_.Below(4)) {
      case 0:
        event.type = VIR_DOMAIN_EVENT_STARTED;
        break;
      case 1:
        event.type = VIR_DOMAIN_EVENT_STOPPED;
        break;
      case 2:
        event.type = static_cast<int>(input_.Below(12));
        break;
      default:
        event.type = input_.Int();
    }
    event.detail = input_.Once(4) ? input_.Int() : static_cast<int>(input_.Below(8));
    if (event.kind == VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE) event.actual = input_.Figure();
    if (event.kind == VIR_DOMAIN_EVENT_ID_DEVICE_ADDED) event.alias = AnyText();
    return event;
  }

  void DoOther() {
    switch (input_.Below(4)) {
      case 0:
        return TakeList();
      case 1:
        return session_->read->Prepare(input_.Below(4));
      case 2:
        return Listen();
      default:
        // Another owner of the control links, as a call that changes memory is.
        (void)session_->control->Take();
    }
  }

  // The EventSink hands out one event at a time, and no list is entered meanwhile.
  void Listen() {
    session_->Listen([this](const memcoord::Event& event) { Check(event); });
  }

  void Check(const memcoord::Event& event) {
    if (event.kind == memcoord::Event::Kind::kDeviceAdded) DeviceAdded(event.uuid);
    const auto known = roster_->Known();
    if (known == nullptr || event.kind != memcoord::Event::Kind::kLifecycle) return;
    const auto is = [&](const Guest& guest) { return guest.uuid == event.uuid; };
    const auto count = std::count_if(known->begin(), known->end(), is);
    if (event.code == VIR_DOMAIN_EVENT_STOPPED) {
      Require(count == 0, "a guest that stopped is not known", event.uuid);
    }
    if (event.code == VIR_DOMAIN_EVENT_STARTED && event.id >= 0) {
      Require(count == 1, "a guest that started is known, once", event.uuid);
      const auto it = std::find_if(known->begin(), known->end(), is);
      Require(it->id == event.id, "a guest that started is known by its new id", event.uuid);
    }
  }

  void DeviceAdded(const std::string& uuid) {
    const std::lock_guard lock(mutex_);
    if (!reading_) {
      forgotten_.insert(uuid);
    } else if (!parallel_) {
      forgotten_meanwhile_[uuid] = InfosOf(uuid);
    }
    // While guests are read in parallel, a maximum that was read before may be noted after.
  }

  // How often virDomainGetInfo has told something of the guest in this sweep.
  static int InfosOf(const std::string& uuid) {
    for (size_t slot = 0; slot < kGuests; ++slot) {
      if (UuidOfSlot(slot) == uuid) return fake::SeenSoFar().infos[slot];
    }
    return 0;
  }

  void CheckKnown() const {
    const auto known = roster_->Known();
    if (known == nullptr) return;
    std::set<std::string> uuids;
    for (const Guest& guest : *known) {
      Require(uuids.insert(guest.uuid).second, "each guest is known once", guest.uuid);
      Require(roster_->Find(guest.uuid).id == guest.id, "the id is that of the last start",
              guest.uuid);
    }
  }

  void TakeList() {
    const fake::World before = fake::Now();
    fake::Forget();
    Answers<std::vector<Found>> answers;
    session_->lister->List(session_, answers.Expect());
    const auto list = answers.Await().front();
    if (std::holds_alternative<Error>(list)) return CheckError(std::get<Error>(list), false);
    std::multiset<Plain> found;
    for (const auto& [guest, state] : std::get<std::vector<Found>>(list)) {
      found.emplace(guest.id, guest.uuid, guest.name);
      Require(std::isnan(state) || IsTold(before, guest.uuid, state),
              "a list has the states that were told", guest.uuid);
    }
    Require(found == Running(before), "a list has the guests that run");
  }

  // Whether a list of that world has this state.
  static bool IsTold(const fake::World& world, const std::string& uuid, double state) {
    const fake::Guest* guest = FindIn(world, uuid);
    return guest != nullptr && guest->told == fake::Told::kPlainly && guest->told_state == state;
  }

  void CheckError(const Error& error, bool expired) const {
    Require(expired || session_->events->Closed() || !fake::SeenSoFar().codes.empty(),
            "there is a reason for each error", error.message);
  }

  SweepPlan AnySweep() {
    SweepPlan plan;
    const auto some = [this] {
      std::set<size_t> slots;
      const std::uint8_t mask = input_.Byte();
      for (size_t slot = 0; slot < kGuests; ++slot) {
        if ((mask >> slot & 1) != 0) slots.insert(slot);
      }
      return slots;
    };
    const std::uint8_t options = input_.Byte();
    if ((options & 1) != 0) plan.only = some();
    if ((options & 2) != 0) plan.reads = some();
    if ((options & 4) != 0) {
      for (const size_t slot : some()) plan.refresh[slot] = input_.Byte() - 1;
    }
    // The order in which a deadline and answers arrive is up to the machine.
    plan.expired = parallel_ && (options & 0xf8) == 0xf8;
    return plan;
  }

  static SampleRequest RequestOf(const SweepPlan& plan) {
    SampleRequest request;
    request.deadline = plan.expired ? Clock::now() - std::chrono::seconds(1)
                                    : Clock::now() + std::chrono::hours(1);
    if (plan.only) {
      request.only.emplace();
      for (const size_t slot : *plan.only) request.only->insert(UuidOfSlot(slot));
    }
    for (const auto& [slot, seconds] : plan.refresh) request.refresh[UuidOfSlot(slot)] = seconds;
    for (const size_t slot : plan.reads) request.reads.insert(UuidOfSlot(slot));
    return request;
  }

  void TakeSweep() {
    const SweepPlan plan = AnySweep();
    const std::uint8_t extras = input_.Byte();
    std::optional<SweepPlan> joining;
    if ((extras & 7) == 7 && !plan.expired) {
      joining = AnySweep();
      joining->expired = false;
    }
    std::vector<fake::Event> in_list;
    for (int left = extras >> 3 & 3; left > 0 && !plan.expired; --left) {
      in_list.push_back(AnyEvent());
    }
    // What becomes of one guest between the list and the readings.
    std::optional<fake::Guest> changed;
    if ((extras & 0x60) == 0x60) {
      changed = fake::GuestNow(input_.Below(kGuests));
      ChangeGuest(*changed);
    }
    // Two sweeps enter the same list one after the other, whatever happens in between.
    std::vector<fake::Event> in_stats;
    if ((extras & 0x80) != 0 && !plan.expired && !joining) in_stats = {AnyEvent(), AnyEvent()};

    const fake::World before = fake::Now();
    fake::Forget();
    Answers<Sweep> answers;
    // Calls that were not waited for may list guests as well, and would take the hook for theirs.
    if (!plan.expired && !given_up_) {
      fake::OnNextList([this, session = session_, changed, in_list, joining, answers]() mutable {
        if (changed) {
          fake::Change([&](fake::World& world) {
            for (fake::Guest& guest : world.guests) {
              if (guest.uuid == changed->uuid) guest = *changed;
            }
          });
        }
        for (const fake::Event& event : in_list) fake::Emit(event);
        if (joining) Sample(session, RequestOf(*joining), answers.Expect());
        const std::lock_guard lock(mutex_);
        reading_ = true;
      });
    }
    if (!in_stats.empty() && !given_up_) {
      fake::OnNextStats([in_stats] {
        for (const fake::Event& event : in_stats) fake::Emit(event);
      });
    }
    const auto begun = Clock::now();
    Sample(session_, RequestOf(plan), answers.Expect());
    const auto results = answers.Await();
    fake::OnNextList(nullptr);
    fake::OnNextStats(nullptr);
    // After a deadline, a list may still be under way. The next sweep must not join it.
    while (session_->lister->Pending()) std::this_thread::yield();
    const bool slow = Clock::now() - begun > kSlow;
    if (slow || plan.expired) given_up_ = true;
    Check(results.front(), plan, before, slow);
    if (results.size() > 1) Check(results.back(), *joining, before, slow);
    Settle(results, before);
    CheckKnown();
  }

  void Check(const Result<Sweep>& result, const SweepPlan& plan, const fake::World& before,
             bool slow) const {
    if (std::holds_alternative<Error>(result)) {
      return CheckError(std::get<Error>(result), plan.expired);
    }
    const auto& [guests, rows] = std::get<Sweep>(result);
    Require(guests != nullptr && rows.size() == guests->size(), "each guest has a row");
    std::multiset<Plain> listed;
    for (const Guest& guest : *guests) listed.emplace(guest.id, guest.uuid, guest.name);
    Require(slow || listed == Running(before), "the guests are those of the list");
    Require(std::is_sorted(guests->begin(), guests->end(),
                           [](const Guest& a, const Guest& b) { return a.id < b.id; }),
            "the guests are in the order of their ids");
    const Facts facts = {RequestOf(plan), session_->events->Closed(), before,
                         fake::Now(),     fake::SeenSoFar(),          fake::LastMaximums()};
    for (size_t i = 0; i < rows.size(); ++i) CheckRow((*guests)[i], rows[i], facts);
  }

  void CheckRow(const Guest& guest, const Row& row, const Facts& facts) const {
    const std::string& uuid = guest.uuid;
    const SampleRequest& request = facts.request;
    const bool asked = !request.only || request.only->count(uuid) > 0;
    const double status = row[kStatus];
    Require(status == kRead || status == kFailed || status == kMissed || status == kSetAside ||
                status == kNotAsked,
            "a status is one of those", uuid);
    Require((status == kNotAsked) == !asked, "the guests that were asked for are read", uuid);
    Require(given_up_ || (status != kMissed && status != kSetAside), "no guest is given up", uuid);
    Require(std::isnan(row[kCpuTime]) && std::isnan(row[kRssFile]), "both are left to the caller");
    const bool may_refresh = asked && !session_->read_only && request.refresh.count(uuid) > 0;
    Require(std::isnan(row[kRefreshed]) ||
                (may_refresh && (row[kRefreshed] == 0 || facts.HaveFailure(row[kRefreshed]) ||
                                 row[kRefreshed] == VIR_ERR_OPERATION_TIMEOUT)),
            "refreshed is what it came to", uuid);
    Require(given_up_ || !may_refresh || !std::isnan(row[kRefreshed]), "refreshed is told", uuid);
    Require(status == kFailed ? facts.HaveFailure(row[kError]) : std::isnan(row[kError]),
            "the error is that of a call", uuid);
    if (status == kRead) return CheckFigures(guest, row, facts);
    for (size_t field = kState; field <= kReadAt; ++field) {
      Require(std::isnan(row[field]), "a guest that was not read has no figures", uuid);
    }
    Require(std::isnan(row[kReads]) && std::isnan(row[kJob]),
            "a guest that was not read has neither reads nor a job", uuid);
  }

  void CheckFigures(const Guest& guest, const Row& row, const Facts& facts) const {
    const std::string& uuid = guest.uuid;
    const fake::Guest* is = FindIn(facts.now, uuid);
    Require(is != nullptr && is->runs, "a guest is read if it runs", uuid);
    const bool arrives = row[kJob] == VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN;
    Require(arrives || !is->memory_stats, "a guest is read if it can be", uuid);
    const auto slot = static_cast<size_t>(is - facts.now.guests.data());
    Require(
        std::isfinite(row[kState]) && std::isfinite(row[kMaximum]) && std::isfinite(row[kReadAt]),
        "a guest that was read has state and maximum", uuid);
    Require(row[kState] == is->state || IsTold(facts.before, uuid, row[kState]), "the state", uuid);
    const auto maximum = facts.maximums[slot];
    Require(maximum && row[kMaximum] == static_cast<double>(*maximum), "the maximum", uuid);
    const auto entry = entered_.find(uuid);
    const bool is_new = entry == entered_.end() || entry->second != guest.id;
    Require(given_up_ || facts.seen.infos[slot] > 0 || (!is_new && forgotten_.count(uuid) == 0),
            "the maximum is asked for again", uuid);

    const double job = JobTold(*is);
    Require(Same(row[kJob], job) || (!is_new && std::isnan(row[kJob])), "the job", uuid);
    Row expected = EmptyRow();
    if (arrives) {
      for (size_t field = kActual; field <= kLastUpdate; ++field) {
        Require(std::isnan(row[field]), "a guest that arrives is not asked", uuid);
      }
      return;
    }
    for (const auto& [tag, value] : is->stats) {
      if (const auto field = FieldOfTag(tag)) expected[*field] = static_cast<double>(value);
    }
    for (size_t field = kActual; field <= kLastUpdate; ++field) {
      Require(Same(row[field], expected[field]), kFieldNames[field], uuid);
    }
    double reads = kNotReported;
    if (facts.request.reads.count(uuid) > 0) {
      const bool told = !is->block_stats && is->bytes_read >= 0;
      reads = told ? static_cast<double>(is->bytes_read) / 1024 : -1;
    }
    Require(Same(row[kReads], reads), "the reads", uuid);
  }

  // What libvirt says of a job of the guest, if it is asked.
  static double JobTold(const fake::Guest& guest) {
    if (guest.job_stats == VIR_ERR_OPERATION_TIMEOUT) return VIR_DOMAIN_JOB_OPERATION_UNKNOWN;
    if (guest.job_stats) {
      const bool arrives = guest.job_stats == VIR_ERR_OPERATION_UNSUPPORTED &&
                           guest.state == VIR_DOMAIN_PAUSED &&
                           guest.reason == VIR_DOMAIN_PAUSED_MIGRATION;
      return arrives ? int{VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN} : kNotReported;
    }
    return guest.job < 0 || guest.job == VIR_DOMAIN_JOB_OPERATION_BACKUP ? kNotReported : guest.job;
  }

  // Prepares what the next sweep is checked against.
  void Settle(const std::vector<Result<Sweep>>& results, const fake::World& before) {
    const std::lock_guard lock(mutex_);
    reading_ = false;
    const fake::Seen seen = fake::SeenSoFar();
    for (size_t slot = 0; slot < kGuests; ++slot) {
      if (seen.infos[slot] > 0) forgotten_.erase(before.guests[slot].uuid);
    }
    for (const auto& [uuid, infos] : std::exchange(forgotten_meanwhile_, {})) {
      if (InfosOf(uuid) == infos) forgotten_.insert(uuid);
    }
    for (const auto& result : results) {
      if (std::holds_alternative<Error>(result)) continue;
      entered_.clear();
      for (const Guest& guest : *std::get<Sweep>(result).guests) entered_[guest.uuid] = guest.id;
    }
  }

  // As a connection of JavaScript does it.
  void Close() {
    Answers<Done> answers;
    session_->closed->OnClosed([done = answers.Expect()] { done(Done{}); });
    if (!listens_to_the_end_) session_->events->Listen(nullptr);
    session_ = nullptr;
    answers.Await();
  }

  Input input_;
  bool parallel_ = false;
  bool allow_refresh_ = false;
  bool listens_to_the_end_ = false;
  // Some sweep has not waited for its calls.
  bool given_up_ = false;
  // Of the guests that start.
  int next_id_ = 10;
  std::shared_ptr<Session> session_;
  std::shared_ptr<Roster> roster_;
  // Ids of the guests of the last sweep, by UUID.
  std::map<std::string, int> entered_;

  // For what follows.
  std::mutex mutex_;
  // A sweep has its list.
  bool reading_ = false;
  // Guests that have got memory since their maximum was asked for; those of the sweep under way
  // with how often it had been asked for then.
  std::set<std::string> forgotten_;
  std::map<std::string, int> forgotten_meanwhile_;
};

}  // namespace
}  // namespace memcoord

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  memcoord::StartEventLoop();
  memcoord::KeepThreads();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  memcoord::Play(memcoord::Input(data, size)).Run();
  return 0;
}
