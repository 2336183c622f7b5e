// floor URI THREADS: what libvirt itself takes for a cycle, in C. Answers as ../contender.ts has
// it.
//
// The fewest calls that give the figures: the list of running guests once a cycle, and
// virDomainMemoryStats for each; virDomainSetMemoryFlags for each where it sets. Guests are sampled
// up once, before the first cycle; with several threads, each has a connection of its own
// (libvirt 9.0 does not serve calls of one connection in parallel safely) and takes the next guest
// that nobody has taken.
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { kMostThreads = 16 };

static int threads;
// KiB; 0 = this cycle only reads.
static unsigned long target;
static int guests;
static virConnectPtr connections[kMostThreads];
static virDomainPtr* domains[kMostThreads];
static atomic_int next_guest;
static pthread_barrier_t begin, end;

static void Fail(const char* what) {
  fprintf(stderr, "floor: %s: %s\n", what, virGetLastErrorMessage());
  exit(1);
}

static double Milliseconds(struct timespec t) { return t.tv_sec * 1e3 + t.tv_nsec / 1e6; }

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return Milliseconds(t);
}

// CPU time of this process so far.
static double Cpu(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return Milliseconds(t);
}

static void Work(long thread) {
  for (int i; (i = atomic_fetch_add(&next_guest, 1)) < guests;) {
    virDomainMemoryStatStruct stats[VIR_DOMAIN_MEMORY_STAT_NR];
    virDomainPtr domain = domains[thread][i];
    if (virDomainMemoryStats(domain, stats, VIR_DOMAIN_MEMORY_STAT_NR, 0) < 0) Fail("memory stats");
    if (target != 0 && virDomainSetMemoryFlags(domain, target, VIR_DOMAIN_AFFECT_LIVE) < 0)
      Fail("set memory");
  }
}

static void* Helper(void* thread) {
  for (;;) {
    pthread_barrier_wait(&begin);
    Work((long)thread);
    pthread_barrier_wait(&end);
  }
  return NULL;
}

static void List(void) {
  virDomainPtr* list;
  const int count =
      virConnectListAllDomains(connections[0], &list, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
  if (count < 0) Fail("list");
  for (int i = 0; i < count; ++i) virDomainFree(list[i]);
  free(list);
}

// Finds the guests, on each connection.
static void LookUp(const char* uri) {
  for (int k = 0; k < threads; ++k) {
    connections[k] = virConnectOpen(uri);
    if (connections[k] == NULL) Fail("open");
    guests = virConnectListAllDomains(connections[k], &domains[k], VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (guests < 0) Fail("list");
  }
}

int main(int argc, char** argv) {
  if (argc != 3 || (threads = atoi(argv[2])) < 1 || threads > kMostThreads) {
    fprintf(stderr, "usage: floor URI THREADS\n");
    return 2;
  }
  LookUp(argv[1]);
  pthread_barrier_init(&begin, NULL, threads);
  pthread_barrier_init(&end, NULL, threads);
  for (long k = 1; k < threads; ++k) {
    pthread_t thread;
    pthread_create(&thread, NULL, Helper, (void*)k);
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  puts("ready");
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    const double start = Now();
    target = strtoul(line, NULL, 10);
    List();
    atomic_store(&next_guest, 0);
    pthread_barrier_wait(&begin);
    Work(0);
    pthread_barrier_wait(&end);
    const double wall = Now() - start;
    printf("%.3f %.3f\n", wall, Cpu());
  }
  return 0;
}
