// The program inside a lab guest: takes one command a line on a serial port and answers each with
// one line.
//
//   ID eat MIB RATE   a child of ours takes memory, 4 KiB at a time, until it holds MIB (in all;
//                     0 = without end), at RATE MiB/s. Given again, the same child goes on.
//   ID hold           the child takes no more and keeps what it has
//   ID free           the child ends; its memory is the guest's again
//   ID report         figures, as NAME=NUMBER; sizes in KiB
//   ID tmpfs MIB      a file of MIB in a tmpfs (0 = none): page cache that cannot be dropped
//   ID rmmod, insmod  the balloon's driver out of the kernel, back into it
//   ID reboot         reboots the guest inside the same QEMU
//   ID read TIMES     a child of ours reads /data/file so many times; 0 = again and again
//   ID passes FROM    how long that took, from the FROMth pass on (the first is 0), a few at a
//                     time: AGO:TOOK:YARDSTICK, all in ms. YARDSTICK is how long it took right
//                     afterwards to read YARDSTICK_MIB out of memory: the machine's speed
//
// Answers are `ID ok ...` or `ID error ...`. ID is any word; it tells the caller's answer from one
// that an earlier caller did not wait for.
#define _GNU_SOURCE  // memfd_create
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES_PER_MIB 256
#define DRIVER "/modules/virtio_balloon.ko"
#define FILE_READ "/data/file"
#define WATCHED_EVERY 100 /* ms */
#define PASSES_KEPT 64
#define PASSES_ANSWERED 32
#define PLAIN_MIB 64 /* in a tmpfs, which cannot be dropped as a cache can */
#define YARDSTICK_MIB 256

/* An order for the eater, sent through its pipe. */
struct order {
  uint64_t limit_pages; /* stop at so many in all; UINT64_MAX = never */
  double rate;          /* pages a second */
};

/* What the eater tells; shared between it and the agent. */
struct eaten {
  volatile uint64_t pages;
  volatile int failed;   /* an allocation failed */
  volatile double begun; /* when it took the first page of its present order; 0 = not yet */
  volatile double held;  /* when it held all of its present order; 0 = not yet */
  volatile long least;   /* least MemAvailable that it saw since then, KiB */
};

/* What the reader tells; shared likewise. */
struct passes {
  volatile int count;
  volatile double ended[PASSES_KEPT], took[PASSES_KEPT], yardstick[PASSES_KEPT]; /* of the last */
};

static int tty;
static struct eaten *eaten;
static struct passes *passes;
static pid_t eater, reader, bystander;
static int orders = -1;     /* write end of the eater's pipe */
static int eater_killed;    /* eaters that ended without our asking: OOM */
static uint64_t last_pages; /* what the last eater held when it ended */
static double ended_at;     /* when that was */
static long kills;          /* the kernel's count of kills for want of memory, as the eater began */
static double killed_at;    /* when the eater was; it is reaped seconds later, its memory free */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -1 = it has not happened. */
static long ms_since(double time) { return time == 0 ? -1L : (long)((now() - time) * 1000); }

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY);
  if (fd < 0) return;
  if (write(fd, text, strlen(text)) < 0) perror(path);
  close(fd);
}

static long figure(const char *path, const char *name) {
  char line[256];
  long value = -1;
  size_t length = strlen(name);
  FILE *file = fopen(path, "r");
  if (file == NULL) return -1;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, name, length) == 0 && (line[length] == ':' || line[length] == ' ')) {
      value = atol(line + length + 1);
      break;
    }
  }
  fclose(file);
  return value;
}

/*
 * Paced by the clock: after t seconds it holds rate * t, so that guests told alike hold alike. One
 * that was held up catches up at no more than 10 % above its rate, as a jump would be another
 * workload than the one that was asked for: also after its whole guest was stopped for a while.
 */
static void eat(int pipe_end) {
  struct order order = {0, 0};
  double begun = 0, last = 0;
  uint64_t base = 0;
  write_file("/proc/self/oom_score_adj", "1000");
  for (;;) {
    int done = eaten->failed || eaten->pages >= order.limit_pages;
    struct pollfd p = {pipe_end, POLLIN, 0};
    if (poll(&p, 1, done ? -1 : 20) > 0) {
      struct order next;
      ssize_t got = read(pipe_end, &next, sizeof next);
      if (got != (ssize_t)sizeof next) _exit(0);
      order = next;
      begun = last = now();
      base = eaten->pages;
      continue;
    }
    double t = now();
    uint64_t due = base + (uint64_t)(order.rate * (t - begun));
    double passed = t - last < 1 ? t - last : 1;
    uint64_t most = eaten->pages + (uint64_t)(order.rate * 1.1 * passed);
    if (due > most) due = most;
    if (due > order.limit_pages) due = order.limit_pages;
    last = t;
    if (eaten->begun == 0 && eaten->pages < due) eaten->begun = t;
    while (eaten->pages < due) {
      char *page = malloc(PAGE);
      if (page == NULL) {
        eaten->failed = 1;
        break;
      }
      memset(page, 0xa5, PAGE);
      eaten->pages++;
    }
    if (eaten->held == 0 && eaten->pages >= order.limit_pages) eaten->held = now();
    long available = figure("/proc/meminfo", "MemAvailable");
    if (available < eaten->least) eaten->least = available;
  }
}

/* A process that anyone would miss: were there none, an idle guest would have nothing that the
 * kernel could kill. */
static void stand_by(int unused) {
  (void)unused;
  size_t size = 4 << 20;
  char *memory = malloc(size);
  if (memory == NULL) _exit(1);
  memset(memory, 0x5a, size);
  for (;;) pause();
}

static char block[1 << 17];

/* Reads to the end; < 0 where that fails. */
static ssize_t read_all(int fd) {
  ssize_t got = -1;
  while (fd >= 0 && (got = read(fd, block, sizeof block)) > 0) continue;
  return got;
}

/* A file that is read as a cached one is, and always out of memory. */
static int plain_file(void) {
  int fd = memfd_create("plain", 0);
  memset(block, 0xa5, sizeof block);
  for (size_t size = 0; size < (size_t)PLAIN_MIB << 20; size += sizeof block)
    if (write(fd, block, sizeof block) != sizeof block) _exit(1);
  return fd;
}

static void read_file(int times) {
  int plain = plain_file();
  for (int i = 0; times == 0 || i < times; i++) {
    double begun = now();
    int fd = open(FILE_READ, O_RDONLY);
    if (read_all(fd) < 0) _exit(1);
    close(fd);
    int slot = passes->count % PASSES_KEPT;
    passes->ended[slot] = now();
    passes->took[slot] = passes->ended[slot] - begun;
    for (int mib = 0; mib < YARDSTICK_MIB; mib += PLAIN_MIB)
      if (lseek(plain, 0, SEEK_SET) != 0 || read_all(plain) < 0) _exit(1);
    passes->yardstick[slot] = now() - passes->ended[slot];
    passes->count++;
  }
}

static pid_t start(void (*body)(int), int argument) {
  pid_t pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    body(argument);
    _exit(0);
  }
  return pid;
}

static void answer(const char *id, const char *format, ...) {
  char line[1024];
  int n = snprintf(line, sizeof line, "%s ", id);
  va_list list;
  va_start(list, format);
  n += vsnprintf(line + n, sizeof line - (size_t)n - 2, format, list);
  va_end(list);
  line[n++] = '\n';
  for (int done = 0; done < n;) {
    ssize_t wrote = write(tty, line + done, (size_t)(n - done));
    if (wrote <= 0) return;
    done += (int)wrote;
  }
}

static void forget_eater(void) {
  last_pages = eaten->pages;
  ended_at = killed_at != 0 ? killed_at : now();
  close(orders);
  orders = -1;
  eater = 0;
}

/* The eater goes first (oom_score_adj); only the kernel's count tells of that at once. */
static void watch_eater(void) {
  if (eater != 0 && killed_at == 0 && figure("/proc/vmstat", "oom_kill") > kills) killed_at = now();
}

static void reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == eater) {
      forget_eater();
      eater_killed++;
    } else if (pid == reader) {
      reader = 0;
    } else if (pid == bystander) {
      bystander = 0;
    }
  }
}

static void command_eat(const char *id, long mib, double rate) {
  if (mib < 0 || rate <= 0) {
    answer(id, "error eat wants an amount in MiB and a rate in MiB/s");
    return;
  }
  if (eater == 0) {
    int ends[2];
    eaten->pages = 0;
    eaten->failed = 0;
    killed_at = 0;
    kills = figure("/proc/vmstat", "oom_kill");
    if (pipe(ends) != 0) {
      answer(id, "error pipe: %s", strerror(errno));
      return;
    }
    eater = start(eat, ends[0]);
    close(ends[0]);
    orders = ends[1];
    if (eater < 0) {
      eater = 0;
      close(orders);
      orders = -1;
      answer(id, "error fork: %s", strerror(errno));
      return;
    }
  }
  eaten->begun = eaten->held = 0;
  eaten->least = LONG_MAX;
  struct order order = {mib == 0 ? UINT64_MAX : (uint64_t)mib * PAGES_PER_MIB,
                        rate * PAGES_PER_MIB};
  if (write(orders, &order, sizeof order) != (ssize_t)sizeof order) {
    answer(id, "error the eater is gone");
    return;
  }
  answer(id, "ok");
}

static void command_hold(const char *id) {
  struct order order = {0, 1};
  if (eater != 0 && write(orders, &order, sizeof order) != (ssize_t)sizeof order) {
    answer(id, "error the eater is gone");
    return;
  }
  answer(id, "ok");
}

static void end_eater(void) {
  if (eater == 0) return;
  kill(eater, SIGKILL);
  waitpid(eater, NULL, 0);
  forget_eater();
}

static void command_report(const char *id) {
  const char *memory = "/proc/meminfo", *vm = "/proc/vmstat";
  uint64_t pages = eater != 0 ? eaten->pages : 0;
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  answer(id,
         "ok uptime=%ld eating=%d eaten=%lu last_eaten=%lu begun_ms_ago=%ld held_ms_ago=%ld "
         "least_available=%ld killed_ms_ago=%ld ended_ms_ago=%ld failed=%d "
         "eaters_killed=%d bystander=%d oom_kills=%ld MemTotal=%ld MemFree=%ld "
         "MemAvailable=%ld Shmem=%ld SwapTotal=%ld SwapFree=%ld pswpin=%ld pswpout=%ld",
         (long)t.tv_sec, eater != 0, (unsigned long)(pages * 4), (unsigned long)(last_pages * 4),
         ms_since(eaten->begun), ms_since(eaten->held), eaten->least, ms_since(killed_at),
         ms_since(ended_at), eaten->failed, eater_killed, bystander != 0, figure(vm, "oom_kill"),
         figure(memory, "MemTotal"), figure(memory, "MemFree"), figure(memory, "MemAvailable"),
         figure(memory, "Shmem"), figure(memory, "SwapTotal"), figure(memory, "SwapFree"),
         figure(vm, "pswpin"), figure(vm, "pswpout"));
}

/* In a child, so that a kill for want of memory hits the child. */
static void fill_tmpfs(int mib) {
  static char block[1 << 16];
  memset(block, 0x3c, sizeof block);
  int fd = open("/tmp/file", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) _exit(errno);
  for (int i = 0; i < mib * 16; i++) {
    if (write(fd, block, sizeof block) != (ssize_t)sizeof block) _exit(errno ? errno : ENOSPC);
  }
  _exit(0);
}

static void command_tmpfs(const char *id, long mib) {
  int status = 0;
  if (mib < 0) {
    answer(id, "error tmpfs wants an amount in MiB");
    return;
  }
  mkdir("/tmp", 0700);
  umount("/tmp");
  if (mib > 0) {
    if (mount("tmpfs", "/tmp", "tmpfs", 0, "size=100%") != 0) {
      answer(id, "error mount: %s", strerror(errno));
      return;
    }
    pid_t pid = start(fill_tmpfs, (int)mib);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
      answer(id, "error tmpfs: %s", WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
      return;
    }
  }
  answer(id, "ok");
}

static void command_driver(const char *id, int load) {
  long result;
  if (load) {
    int fd = open(DRIVER, O_RDONLY);
    result = fd < 0 ? -1 : syscall(SYS_finit_module, fd, "", 0);
    if (fd >= 0) close(fd);
  } else {
    result = syscall(SYS_delete_module, "virtio_balloon", O_NONBLOCK);
  }
  if (result != 0)
    answer(id, "error %s: %s", load ? "insmod" : "rmmod", strerror(errno));
  else
    answer(id, "ok");
}

static void command_read(const char *id, int times) {
  if (times < 0 || reader != 0) {
    answer(id, "error read wants a number of times, and one reader at a time");
    return;
  }
  passes->count = 0;
  reader = start(read_file, times);
  if (reader < 0) reader = 0;
  answer(id, reader == 0 ? "error fork" : "ok");
}

static void command_passes(const char *id, int from) {
  char text[PASSES_ANSWERED * 30] = "";
  int count = passes->count, length = 0;
  if (from < count - PASSES_KEPT || from < 0) {
    answer(id, "error passes are kept from %d on", count > PASSES_KEPT ? count - PASSES_KEPT : 0);
    return;
  }
  for (int i = from; i < count && i < from + PASSES_ANSWERED; i++) {
    int slot = i % PASSES_KEPT;
    length += snprintf(text + length, sizeof text - (size_t)length, " %ld:%ld:%ld",
                       ms_since(passes->ended[slot]), (long)(passes->took[slot] * 1000),
                       (long)(passes->yardstick[slot] * 1000));
  }
  answer(id, "ok%s", text);
}

static void obey(char *line) {
  char id[64] = "", verb[32] = "";
  double first = -1, second = -1;
  if (sscanf(line, "%63s %31s %lf %lf", id, verb, &first, &second) < 2) return;
  if (strcmp(verb, "eat") == 0) {
    command_eat(id, (long)first, second);
  } else if (strcmp(verb, "hold") == 0) {
    command_hold(id);
  } else if (strcmp(verb, "free") == 0) {
    end_eater();
    answer(id, "ok");
  } else if (strcmp(verb, "report") == 0) {
    command_report(id);
  } else if (strcmp(verb, "tmpfs") == 0) {
    command_tmpfs(id, (long)first);
  } else if (strcmp(verb, "rmmod") == 0) {
    command_driver(id, 0);
  } else if (strcmp(verb, "insmod") == 0) {
    command_driver(id, 1);
  } else if (strcmp(verb, "reboot") == 0) {
    answer(id, "ok");
    tcdrain(tty);
    reboot(RB_AUTOBOOT);
  } else if (strcmp(verb, "read") == 0) {
    command_read(id, (int)first);
  } else if (strcmp(verb, "passes") == 0) {
    command_passes(id, (int)first);
  } else {
    answer(id,
           "error unknown command '%s'; known: eat MIB RATE, hold, free, report, tmpfs MIB, rmmod, "
           "insmod, reboot, read TIMES, passes FROM",
           verb);
  }
}

int main(int argc, char **argv) {
  struct termios raw;
  sigset_t child;
  char line[256];
  size_t length = 0;

  tty = open(argc > 1 ? argv[1] : "/dev/ttyS1", O_RDWR | O_NOCTTY);
  if (tty < 0 || tcgetattr(tty, &raw) != 0) {
    perror("serial port");
    return 1;
  }
  cfmakeraw(&raw);
  cfsetspeed(&raw, B115200);
  tcsetattr(tty, TCSANOW, &raw);

  eaten = mmap(NULL, sizeof *eaten, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  passes = mmap(NULL, sizeof *passes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (eaten == MAP_FAILED || passes == MAP_FAILED) {
    perror("mmap");
    return 1;
  }
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  signal(SIGPIPE, SIG_IGN);
  int children = signalfd(-1, &child, SFD_NONBLOCK);
  bystander = start(stand_by, 0);
  answer("agent", "ready");

  for (;;) {
    struct pollfd waits[2] = {{tty, POLLIN, 0}, {children, POLLIN, 0}};
    if (poll(waits, 2, eater != 0 ? WATCHED_EVERY : -1) < 0) continue;
    watch_eater();
    if (waits[1].revents != 0) {
      struct signalfd_siginfo info;
      while (read(children, &info, sizeof info) > 0) continue;
      reap();
    }
    if (waits[0].revents == 0) continue;
    char bytes[64];
    ssize_t got = read(tty, bytes, sizeof bytes);
    for (ssize_t i = 0; i < got; i++) {
      if (bytes[i] == '\n' || bytes[i] == '\r') {
        line[length] = 0;
        length = 0;
        obey(line);
      } else if (length < sizeof line - 1) {
        line[length++] = bytes[i];
      }
    }
  }
}
