// ldns for Swift. <stdbool.h> must come first: without it ldns defines _Bool as signed char and its bools import as Int8.
#ifndef POSTERN_CLDNS_SHIM_H
#define POSTERN_CLDNS_SHIM_H

#include <stdbool.h>
#include <stdio.h>
#include <ldns/ldns.h>

#endif
