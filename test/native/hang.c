/*
 * Preloaded in front of libvirt, it does what files in the directory that the variable HANG names say:
 *   NAME          calls on the guest of that name hang for as long as there is the file, as they do where a guest's QEMU is stopped;
 *   NAME.refused  its next stats period but 0 is refused, which takes the file away; NAME.refused2 the one after that;
 *   bulk          virConnectGetAllDomainStats hangs, as it does where all workers of libvirtd wait for guests;
 *   list          virConnectListAllDomains hangs too, as both do while libvirtd holds the lock of one guest;
 *   no-bulk       the hypervisor does not have virConnectGetAllDomainStats.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Node loads libvirt with the addon, so it is not among the libraries that RTLD_NEXT looks through. */
static void *real(const char *name) { return dlsym(dlopen("libvirt.so.0", RTLD_LAZY | RTLD_NOLOAD), name); }

static const char *name_of(virDomainPtr domain) {
  const char *(*next)(virDomainPtr) = real("virDomainGetName");
  return next(domain);
}

static const char *file(const char *name, const char *suffix) {
  static _Thread_local char path[4096];
  const char *directory = getenv("HANG");
  snprintf(path, sizeof path, "%s/%s%s", directory == NULL ? "/nonexistent" : directory, name, suffix);
  return path;
}

static void wait_for(virDomainPtr domain) {
  const char *path = file(name_of(domain), "");
  while (access(path, F_OK) == 0) usleep(5000);
}

int virConnectGetAllDomainStats(virConnectPtr connect, unsigned int stats, virDomainStatsRecordPtr **records, unsigned int flags) {
  int (*next)(virConnectPtr, unsigned int, virDomainStatsRecordPtr **, unsigned int) = real("virConnectGetAllDomainStats");
  while (access(file("bulk", ""), F_OK) == 0) usleep(5000);
  return access(file("no-bulk", ""), F_OK) == 0 ? -1 : next(connect, stats, records, flags);
}

int virConnectListAllDomains(virConnectPtr connect, virDomainPtr **domains, unsigned int flags) {
  int (*next)(virConnectPtr, virDomainPtr **, unsigned int) = real("virConnectListAllDomains");
  while (access(file("list", ""), F_OK) == 0) usleep(5000);
  return next(connect, domains, flags);
}

int virDomainSetMemoryStatsPeriod(virDomainPtr domain, int period, unsigned int flags) {
  int (*next)(virDomainPtr, int, unsigned int) = real("virDomainSetMemoryStatsPeriod");
  const char *name = name_of(domain);
  if (period != 0 && (unlink(file(name, ".refused")) == 0 || unlink(file(name, ".refused2")) == 0)) return -1;
  return next(domain, period, flags);
}

int virDomainMemoryStats(virDomainPtr domain, virDomainMemoryStatPtr stats, unsigned int count, unsigned int flags) {
  int (*next)(virDomainPtr, virDomainMemoryStatPtr, unsigned int, unsigned int) = real("virDomainMemoryStats");
  wait_for(domain);
  return next(domain, stats, count, flags);
}

int virDomainSetMemoryFlags(virDomainPtr domain, unsigned long kib, unsigned int flags) {
  int (*next)(virDomainPtr, unsigned long, unsigned int) = real("virDomainSetMemoryFlags");
  wait_for(domain);
  return next(domain, kib, flags);
}
