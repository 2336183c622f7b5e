/*
 * Makes calls on chosen guests hang, as they do where a guest's QEMU is stopped: preloaded in front of libvirt, it holds such a call for
 * as long as there is a file named after the guest in the directory that the variable HANG names.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Node loads libvirt with the addon, so it is not among the libraries that RTLD_NEXT looks through. */
static void *real(const char *name) { return dlsym(dlopen("libvirt.so.0", RTLD_LAZY | RTLD_NOLOAD), name); }

static void wait_for(virDomainPtr domain) {
  char path[4096];
  const char *directory = getenv("HANG");
  if (directory == NULL) return;
  const char *(*name_of)(virDomainPtr) = real("virDomainGetName");
  snprintf(path, sizeof path, "%s/%s", directory, name_of(domain));
  while (access(path, F_OK) == 0) usleep(5000);
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
