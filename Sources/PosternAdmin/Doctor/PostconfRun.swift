// Runs postconf(1) and takes what it prints: with a cap on octets and on time, no shell, no environment of the
// caller's. What it prints is read by PostfixView.

internal import Glibc
internal import PosternDaemon
internal import PosternSocket

struct PostconfRun {
    /// `--postfix-config`; nil for Postfix's own default.
    let folder: String?
    /// Where distributions put it, and where sites do.
    var candidates = [
        "/usr/sbin/postconf", "/usr/local/sbin/postconf", "/usr/bin/postconf", "/opt/postfix/sbin/postconf",
    ]

    /// postconf answers in milliseconds; a table server that it waits for is trouble.
    private static let maxWait = Duration.seconds(20)

    /// What Postfix is set to.
    /// - Throws: there is no postconf, it failed, or what it printed was not understood.
    func view() throws(CommandFailure) -> PostfixView {
        let program = try program()
        let all = try run(program, ["-x"])
        let fields = try run(program, ["-F"])
        let overrides = try run(program, ["-P", "-x"])
        do throws(PostconfError) {
            return try PostfixView(parameters: all, fields: fields, overrides: overrides, folder: folder)
        } catch { throw CommandFailure(.unavailable, error.description) }
    }

    /// The parameters of main.cf that are not Postfix's defaults, a line each, as `postconf -nx` prints them.
    func changed() throws(CommandFailure) -> [UInt8] { try run(try program(), ["-n", "-x"]) }

    private func program() throws(CommandFailure) -> String {
        guard let program = candidates.first(where: { access($0, X_OK) == 0 }) else {
            throw CommandFailure(
                .unavailable,
                "expected Postfix's postconf, found none of \(candidates.joined(separator: ", ")); is Postfix on this host?"
            )
        }
        return program
    }

    // MARK: The process

    private func run(_ program: String, _ options: [String]) throws(CommandFailure) -> [UInt8] {
        let words = [program] + (folder.map { ["-c", $0] } ?? []) + options
        let (octets, status) = try Self.run(words, .output)
        guard status != 0 else { return octets }
        // Only now its words matter: a pipe for each would have to be emptied by turns.
        let said = String(decoding: try Self.run(words, .complaints).octets, as: UTF8.self)
        let lines = said.split(separator: "\n")
        let reason = lines.last { $0.contains("fatal: ") } ?? lines.last ?? "nothing said"
        let shown = words.joined(separator: " ")
        // wait(2): the low 7 bits are a signal's number, the next 8 the exit status.
        throw CommandFailure(
            .unavailable,
            "\(shown): expected exit status 0, found \(status & 0x7F == 0 ? "\(status >> 8)" : "its death"): "
                + DaemonControl.printable(String(reason)))
    }

    /// Which of its streams is read.
    private enum Stream: Int32 {
        case output = 1
        case complaints = 2
    }

    private static func run(
        _ words: [String], _ stream: Stream
    ) throws(CommandFailure) -> (octets: [UInt8], status: Int32) {
        let shown = words.joined(separator: " ")
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, let reading = ends.first, let writing = ends.last else {
            throw CommandFailure(.unavailable, "cannot run \(shown): \(SystemText.of(errno))")
        }
        defer { close(reading) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }  // the child has its copy
        let child: pid_t
        do throws(CommandFailure) { child = try start(words, stream, writing) } catch {
            close(writing)
            throw error
        }
        close(writing)
        let octets = read(reading, until: .after(maxWait))
        if octets == nil { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        guard let octets else {
            throw CommandFailure(
                .unavailable,
                "\(shown): expected at most \(PostfixView.maxOctets) octets in \(maxWait.components.seconds) s, "
                    + "found more")
        }
        return (octets, status)
    }

    /// Starts it with one stream on a pipe and the other one nowhere: what it warns of in main.cf's syntax is Postfix's
    /// own to tell.
    private static func start(_ words: [String], _ stream: Stream, _ pipe: Int32) throws(CommandFailure) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, pipe, stream.rawValue)
        let other: Stream = stream == .output ? .complaints : .output
        posix_spawn_file_actions_addopen(&actions, other.rawValue, "/dev/null", O_WRONLY, 0)
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        // MAIL_CONFIG and others of the caller's would name another Postfix than the one that is asked about.
        let environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]
        var envp: [UnsafeMutablePointer<CChar>?] = environment.map { strdup($0) } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, words.first ?? "", &actions, nil, &argv, &envp)
        guard code == 0 else {
            throw CommandFailure(.unavailable, "cannot run \(words.joined(separator: " ")): \(SystemText.of(code))")
        }
        return child
    }

    /// All that comes until the other end is closed; nil when it is too much, too late or cannot be read.
    private static func read(_ descriptor: Int32, until deadline: MonotonicTime) -> [UInt8]? {
        var octets: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let rest = deadline.remaining
            guard rest > .zero else { return nil }
            let ready = poll(&entry, 1, Int32(clamping: rest.components.seconds * 1000 + 1))
            guard ready > 0 else {
                if ready < 0, errno == EINTR { continue }
                return nil
            }
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return octets }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            guard octets.count + count <= PostfixView.maxOctets else { return nil }
            octets += chunk.prefix(count)
        }
    }
}
