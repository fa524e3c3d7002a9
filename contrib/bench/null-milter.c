/* The milter that does nothing: what libmilter and the kernel cost by themselves. It negotiates the same steps and flags
 * as postern-dkim and answers every message alike, so that the difference is what a daemon's own work costs.
 * cc -O2 -o null-milter null-milter.c -lmilter -lpthread; ./null-milter unix:PATH [add] */
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>
#include <stdio.h>
#include <string.h>

static int add_field;

static sfsistat negotiate(SMFICTX *c, unsigned long a, unsigned long s, unsigned long x, unsigned long y,
                          unsigned long *pa, unsigned long *ps, unsigned long *px, unsigned long *py)
{
    (void)x, (void)y;
    smfi_setsymlist(c, SMFIM_CONNECT, "{daemon_name}");
    smfi_setsymlist(c, SMFIM_ENVFROM, "{auth_authen}");
    smfi_setsymlist(c, SMFIM_EOH, "i");
    smfi_setsymlist(c, SMFIM_EOM, "i");
    smfi_setsymlist(c, SMFIM_HELO, "");
    smfi_setsymlist(c, SMFIM_ENVRCPT, "");
    smfi_setsymlist(c, SMFIM_DATA, "");
    *pa = a & (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_SETSYMLIST);
    *ps = s & (SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NODATA |
               SMFIP_NOUNKNOWN | SMFIP_NORCPT | SMFIP_SKIP | SMFIP_HDR_LEADSPC);
    *px = *py = 0;
    return SMFIS_CONTINUE;
}
static sfsistat connected(SMFICTX *c, char *n, _SOCK_ADDR *a) { (void)c, (void)n, (void)a; return SMFIS_NOREPLY; }
static sfsistat text(SMFICTX *c, char *s) { (void)c, (void)s; return SMFIS_NOREPLY; }
static sfsistat path(SMFICTX *c, char **s) { (void)c, (void)s; return SMFIS_NOREPLY; }
static sfsistat field(SMFICTX *c, char *n, char *v) { (void)c, (void)n, (void)v; return SMFIS_NOREPLY; }
static sfsistat eoh(SMFICTX *c) { (void)c; return SMFIS_NOREPLY; }
static sfsistat body(SMFICTX *c, unsigned char *p, size_t n) { (void)c, (void)p, (void)n; return SMFIS_CONTINUE; }
static sfsistat eom(SMFICTX *c)
{
    if (add_field) smfi_insheader(c, 0, "X-Null", " milter=null");
    return SMFIS_CONTINUE;
}
static sfsistat done(SMFICTX *c) { (void)c; return SMFIS_CONTINUE; }

int main(int argc, char **argv)
{
    struct smfiDesc d;
    memset(&d, 0, sizeof d);
    d.xxfi_name = "null";
    d.xxfi_version = SMFI_VERSION;
    d.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_SETSYMLIST;
    d.xxfi_connect = connected;
    d.xxfi_helo = text;
    d.xxfi_envfrom = path;
    d.xxfi_header = field;
    d.xxfi_eoh = eoh;
    d.xxfi_body = body;
    d.xxfi_eom = eom;
    d.xxfi_abort = done;
    d.xxfi_close = done;
    d.xxfi_negotiate = negotiate;
    if (argc < 2) return fprintf(stderr, "usage: null-milter unix:PATH [add]\n"), 64;
    add_field = argc > 2;
    smfi_setconn(argv[1]);
    if (smfi_register(d) != MI_SUCCESS) return 70;
    return smfi_main() == MI_SUCCESS ? 0 : 69;
}
