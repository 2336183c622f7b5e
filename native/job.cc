#include "job.h"

#include <libvirt/virterror.h>

#include <cmath>

#include "row.h"
#include "virt_ptr.h"

namespace memcoord {
namespace {

// Asks libvirt. Takes a job of its own, as reading the guest does.
double AskJob(virDomainPtr domain) {
  int type = VIR_DOMAIN_JOB_NONE;
  TypedParams params;
  if (virDomainGetJobStats(domain, &type, params.params(), params.count(), 0) < 0) {
    const virErrorPtr error = virGetLastError();
    const int code = error == nullptr ? int{VIR_ERR_OK} : error->code;
    virResetLastError();
    // Only the source host of a migration has figures of it; the reason is known without a job.
    if (code == VIR_ERR_OPERATION_UNSUPPORTED) {
      int state = VIR_DOMAIN_NOSTATE;
      int reason = 0;
      const bool arrives = virDomainGetState(domain, &state, &reason, 0) == 0 &&
                           state == VIR_DOMAIN_PAUSED && reason == VIR_DOMAIN_PAUSED_MIGRATION;
      return arrives ? int{VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN} : kNotReported;
    }
    // A snapshot may let nobody ask.
    return code == VIR_ERR_OPERATION_TIMEOUT ? int{VIR_DOMAIN_JOB_OPERATION_UNKNOWN} : kNotReported;
  }
  if (type == VIR_DOMAIN_JOB_NONE) return kNotReported;
  const int operation =
      params.Int(VIR_DOMAIN_JOB_OPERATION).value_or(int{VIR_DOMAIN_JOB_OPERATION_UNKNOWN});
  // It may take hours, and the guest can be changed meanwhile.
  return operation == VIR_DOMAIN_JOB_OPERATION_BACKUP ? kNotReported : operation;
}

}  // namespace

double JobOn(Roster& roster, const std::string& uuid, virDomainPtr domain) {
  if (!roster.MayHaveJob(uuid)) return kNotReported;
  const double job = AskJob(domain);
  if (std::isnan(job)) roster.ForgetJob(uuid);
  return job;
}

}  // namespace memcoord
