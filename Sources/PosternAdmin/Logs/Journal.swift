// The journal, through journalctl(1): systemd's library reads its files, and no other program needs to know their form.
// Short lines with full times, so that files and journal go through one parser; a line end in a message is shown
// indented, so that nobody's message begins a line of its own.

internal import Glibc
internal import PosternMail

/// A journalctl that runs; waited for when this value ends.
struct Journal: ~Copyable {
    private let process: pid_t
    /// The end of the pipe that it writes into; the caller's to close.
    let output: Int32
    private var isOver = false

    /// Looked for on PATH.
    static let program = "journalctl"

    /// Who may read what others have written. Source: journalctl(1).
    static var isAllToBeSeen: Bool {
        guard geteuid() != 0 else { return true }
        var groups = [gid_t](repeating: 0, count: 1024)
        let count = max(0, getgroups(Int32(groups.count), &groups))
        return ["systemd-journal", "adm", "wheel"].contains { name in
            guard let group = getgrnam(name)?.pointee.gr_gid else { return false }
            return group == getegid() || groups.prefix(Int(count)).contains(group)
        }
    }

    /// - Parameter facility: of log.facility, beside `mail`, which is Postfix's.
    static func arguments(since: UnixTime?, until: UnixTime?, facility: String) -> [String] {
        let facilities = facility == "mail" ? "mail" : "mail,\(facility)"
        return [
            "--quiet", "--no-pager", "--all", "--output=short-iso-precise", "--facility=\(facilities)",
        ] + (since.map { ["--since=@\($0.seconds)"] } ?? []) + (until.map { ["--until=@\($0.seconds + 1)"] } ?? [])
    }

    /// Starts it. Source: posix_spawn(3).
    init(_ program: String = program, _ arguments: [String]) throws(FileFailure) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0, let reading = ends.first, let writing = ends.last else {
            throw .last("make a pipe for \(program)")
        }
        defer { close(writing) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, writing, 1)
        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, program, &actions, nil, &words, environ)
        guard code == 0 else {
            close(reading)
            // Where there is no systemd the log is a file.
            throw .system(operation: "run \(program), and found no /var/log/mail.log; --log names a log", errno: code)
        }
        self.process = process
        output = reading
    }

    /// Waits for its end; its pipe must be closed, or read to its end.
    /// - Returns: what it ended with, 0 when all is well.
    consuming func end() -> Int32 {
        let status = Self.wait(process)
        isOver = true
        return status
    }

    deinit { if !isOver { _ = Self.wait(process) } }

    private static func wait(_ process: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 {
            guard errno == EINTR else { return -1 }
        }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }
}
