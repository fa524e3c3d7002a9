# Puts mail that postern-dmarc marks into quarantine where its reader expects it: Junk. For a mail store with Sieve (RFC
# 5228), as a script that runs for everybody before their own; with Dovecot's Pigeonhole: sieve_before.
#
# The mark is a field that only postern-dmarc writes: what comes in with one loses it. So a store that takes mail from
# anywhere but a Postfix with postern-dmarc must not use this.
#
#     Postern-Disposition: quarantine (dmarc example.com)
require ["fileinto"];

if header :matches "Postern-Disposition" ["quarantine", "quarantine *"] {
    fileinto "Junk";
    stop;
}
