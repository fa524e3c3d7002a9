// The name of this machine, for a configuration that gives none.

internal import Glibc
internal import PosternMail

enum MachineName {
    /// The fully qualified name: the kernel's if it has a dot, else what the resolver makes of it; `localhost` where
    /// that is no name. Asking the resolver may take seconds without DNS. Source: gethostname(2), getaddrinfo(3).
    static func current() -> DomainName {
        var octets = [CChar](repeating: 0, count: 257)
        guard gethostname(&octets, octets.count - 1) == 0 else { return localhost }
        let own = String(decoding: octets.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let full = own.contains(".") ? own : canonicalName(of: own) ?? own
        let name = try? DomainName(full)  // whatever else the kernel or resolver holds is no name for mail
        guard let name, name.isHostname() else { return localhost }
        return name
    }

    private static let localhost = Example.name("localhost")

    private static func canonicalName(of name: String) -> String? {
        var hints = addrinfo()
        hints.ai_flags = AI_CANONNAME
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0, let found else { return nil }
        defer { freeaddrinfo(found) }
        return found.pointee.ai_canonname.map { String(cString: $0) }
    }
}
