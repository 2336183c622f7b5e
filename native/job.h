// Jobs of libvirt's that keep everybody else from changing a guest: migration, save, dump,
// snapshot.
#ifndef MEMCOORD_JOB_H_
#define MEMCOORD_JOB_H_

#include <libvirt/libvirt.h>

#include <string>

#include "roster.h"

namespace memcoord {

// virDomainJobOperation of the job that libvirt has on the guest; NaN = there is none.
//
// While there is one, a call that changes the guest waits for it for 30 s and fails
// (VIR_ERR_OPERATION_TIMEOUT). So does one that reads a guest that migrates in [M: libvirt 9.0].
//
// Costs a call only for guests that may have a job. Those are all that are new, and those that the
// roster suspects: QEMU has begun to send the guest's memory somewhere, or a call has timed out.
double JobOn(Roster& roster, const std::string& uuid, virDomainPtr domain);

}  // namespace memcoord

#endif  // MEMCOORD_JOB_H_
