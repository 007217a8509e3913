/* SPDX-License-Identifier: AGPL-3.0-only */
#ifndef SELFTEST_H_
#define SELFTEST_H_

#include "args.h"

/**
 * selftest(a):
 * Play the good plugin in all layouts, which must be clean, and each fault of
 * the bad one, which must be found.  Return 0 if all is as expected.
 */
int selftest(const struct args *);

#endif /* !SELFTEST_H_ */
