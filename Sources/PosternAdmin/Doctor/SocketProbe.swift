// Whether Postfix could reach a socket: really tried. A child process goes where smtpd(8) is (chroot into the queue
// directory), becomes who smtpd is (mail_owner, with no groups but its own) and connects. Only root can do that.
// Nothing is sent; who listens sees a connection that ends at once.
//
// The child is made by fork(2): between that and its end only system calls are made, with memory that was there before
// (signal-safety(7)), since other threads' locks may be held in the copy.

internal import Glibc
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket

/// One socket as one kind of Postfix's processes sees it.
struct SocketTrial: Hashable, Sendable {
    enum Outcome: Hashable, Sendable {
        case reached
        /// What the system said: errno of connect(2).
        case refused(Int32)
        /// It could not be tried.
        case untried(String)
    }

    /// As Postfix spells it.
    let spelling: String
    let isChrooted: Bool
    let outcome: Outcome
}

struct SocketProbe {
    let queueFolder: String
    /// `mail_owner`; nil where this machine has no such user.
    let user: UserIdentity?

    /// Longest wait for a TCP handshake, in milliseconds; a UNIX socket answers at once.
    private static let maxWait: Int32 = 3000

    /// Exit statuses of the child: errno of connect, or one of these.
    private static let cannotChange: Int32 = 254
    private static let cannotSocket: Int32 = 253

    func outcome(_ spelling: String, isChrooted: Bool) -> SocketTrial.Outcome {
        guard geteuid() == 0 else { return .untried("only root can try it as Postfix would") }
        guard let user else { return .untried("this machine has no user of Postfix's") }
        guard let endpoint = PostfixEndpoint(spelling) else { return .untried("no socket that can be dialled") }
        switch endpoint {
        case .unix(let path):
            guard let address = try? SocketAddress(path: path) else { return .refused(ENAMETOOLONG) }
            return inChild(address, isChrooted, user)
        case .tcp(let host, let port):
            guard let address = host == "localhost" ? IPAddress("127.0.0.1") : IPAddress(host) else {
                return .untried("a name that only Postfix's resolver knows")
            }
            return inChild(SocketAddress(address, port: port), false, user)
        }
    }

    // MARK: The child

    private func inChild(_ address: SocketAddress, _ isChrooted: Bool, _ user: UserIdentity) -> SocketTrial.Outcome {
        address.withBorrowed { inChild(address.family, $0, $1, isChrooted, user) }
    }

    private func inChild(
        _ family: Int32, _ address: UnsafePointer<sockaddr>, _ length: socklen_t, _ isChrooted: Bool,
        _ user: UserIdentity
    ) -> SocketTrial.Outcome {
        // Postfix's daemons have no groups but their user's own (initgroups is not called; master(8)).
        var group = user.gid
        let (uid, gid) = (user.uid, user.gid)
        var entry = pollfd(fd: -1, events: Int16(POLLOUT), revents: 0)
        var (code, codeLength) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        var status: Int32 = 0
        let child = queueFolder.withCString { folder -> pid_t in
            let child = fork()
            guard child == 0 else { return child }
            // smtpd's folder is the queue directory, chrooted or not: relative paths begin there.
            if chdir(folder) != 0 || (isChrooted && chroot(folder) != 0) { _exit(Self.cannotChange) }
            if setgroups(1, &group) != 0 || setgid(gid) != 0 || setuid(uid) != 0 { _exit(Self.cannotChange) }
            let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            if descriptor < 0 { _exit(Self.cannotSocket) }
            if Glibc.connect(descriptor, address, length) == 0 { _exit(0) }
            if errno != EINPROGRESS { _exit(errno) }
            entry.fd = descriptor
            if poll(&entry, 1, Self.maxWait) != 1 { _exit(ETIMEDOUT) }
            if getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &codeLength) != 0 { _exit(errno) }
            _exit(code)
        }
        guard child > 0 else { return .untried("no child process: \(SystemText.of(errno))") }
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard status & 0x7F == 0 else { return .untried("the child process died") }
        switch (status >> 8) & 0xFF {
        case 0: return .reached
        case Self.cannotChange: return .untried("cannot become user \(user.name) in \(queueFolder)")
        case Self.cannotSocket: return .untried("no socket")
        case let code: return .refused(code)
        }
    }
}

/// Where a milter or a policy service is, as main.cf spells it. Source: MILTER_README, SMTPD_POLICY_README.
enum PostfixEndpoint: Hashable, Sendable {
    /// Relative to the queue directory, or absolute.
    case unix(path: String)
    case tcp(host: String, port: UInt16)

    init?(_ spelling: String) {
        let parts = spelling.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let scheme = parts.first, let rest = parts.dropFirst().first else { return nil }
        switch scheme {
        case "unix", "local":
            guard !rest.isEmpty else { return nil }
            self = .unix(path: String(rest))
        case "inet":
            guard let (host, port) = Endpoint.hostAndPort(String(rest)), !rest.contains("@") else { return nil }
            self = .tcp(host: host, port: port)
        default: return nil
        }
    }
}
