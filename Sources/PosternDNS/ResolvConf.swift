// The upstreams that a host's /etc/resolv.conf names (resolv.conf(5)). Works on the text; search lists and options are
// for stub resolvers and mean nothing to a forwarder.

public import PosternMail

public enum ResolvConf {
    /// Most `nameserver` lines used. Source: resolv.conf(5), MAXNS.
    public static let maxNameservers = 3

    /// The addresses of the `nameserver` lines in their order, doubles left out; those with a scope (`fe80::1%eth0`)
    /// are skipped, since an `IPAddress` has none. Empty when there are none: the caller falls back on 127.0.0.1
    /// (resolv.conf(5)).
    public static func nameservers(in text: String) -> [IPAddress] {
        var found: [IPAddress] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.first == "nameserver", let word = words.dropFirst().first, let address = IPAddress(word),
                !found.contains(address)
            else { continue }
            found.append(address)
            if found.count == maxNameservers { break }
        }
        return found
    }
}
