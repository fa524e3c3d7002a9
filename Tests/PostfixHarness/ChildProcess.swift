// One process of another program: started, waited for, signalled. posix_spawn(3) rather than Foundation's Process,
// which hands a descriptor of its own to the child and takes its closing for the end: daemons would confuse it.
// A guardian shell ends the child when the test process dies without having done so.

import Foundation
public import Glibc
import Synchronization

public final class ChildProcess: Sendable {
    public let pid: pid_t
    private let ended = Mutex<Int32?>(nil)
    /// More than a test process has open with all its tests at work.
    static let maxDescriptor: Int32 = 1024

    /// - Parameter program: an absolute path, or a name that is looked for on PATH.
    /// - Parameter input: the file that is its standard input; default /dev/null.
    /// - Parameter output: the file that standard output is appended to; `errors` likewise. May be the same one.
    public init(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null",
        output: String = "/dev/null", errors: String = "/dev/null"
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        // Nothing but 0, 1 and 2 is inherited, however many other tests have open: a connection that a daemon held too
        // would not end when its test closes it.
        for descriptor in 3..<Self.maxDescriptor { posix_spawn_file_actions_addclose(&actions, descriptor) }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)  // a test runner's thread may have signals blocked
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        let merged = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
        var argv: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = merged.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for pointer in argv + envp { free(pointer) } }
        var child: pid_t = 0
        let status = posix_spawnp(&child, program, &actions, &attributes, &argv, &envp)
        guard status == 0 else { throw HarnessError("\(program): \(String(cString: strerror(status)))") }
        pid = child
    }

    /// The exit status, or nil while it runs; 128 + n when signal n ended it.
    public var exitStatus: Int32? {
        ended.withLock { ended in
            if let ended { return ended }
            var status: Int32 = 0
            guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
            let signal = status & 0x7F
            ended = signal == 0 ? (status >> 8) & 0xFF : 128 + signal
            return ended
        }
    }

    /// Waits for its end.
    @discardableResult
    public func wait(within cap: Duration = Await.cap) throws -> Int32 {
        try Await.value("the end of process \(pid)", within: cap) { exitStatus }
    }

    /// Sends a signal, if it still runs.
    public func send(signal: Int32) {
        guard exitStatus == nil else { return }
        kill(pid, signal)
    }
}

/// What one run of a program gave.
public struct ProgramResult: Sendable {
    public let status: Int32
    public let output: [UInt8]
    public let errors: String
    public var text: String { String(decoding: output, as: UTF8.self) }
}

public enum Program {
    /// Runs a program to its end. Input and outputs go through files: no pipe can fill up.
    public static func run(
        _ program: String, _ arguments: [String], input: [UInt8]? = nil, environment: [String: String] = [:],
        within cap: Duration = Await.cap
    ) throws -> ProgramResult {
        let folder = try TemporaryFolder()
        let output = folder.file("out").path
        let errors = folder.file("err").path
        var stdin = "/dev/null"
        if let input { stdin = try folder.write("in", input).path }
        let child = try ChildProcess(
            program, arguments, environment: environment, input: stdin, output: output, errors: errors)
        do {
            let status = try child.wait(within: cap)
            return ProgramResult(
                status: status, output: try folder.read("out"),
                errors: String(decoding: try folder.read("err"), as: UTF8.self))
        } catch {
            child.send(signal: SIGKILL)
            _ = try? child.wait()  // the first error is the one to tell
            throw error
        }
    }
}

/// A shell that runs a command when this process dies, so that an aborted test run leaves nothing behind.
final class Guardian: Sendable {
    private let child: ChildProcess
    private let end: Int32

    init(onDeath command: String) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, let reading = ends.first, let writing = ends.last else {
            throw HarnessError.system("pipe")
        }
        _ = fcntl(writing, F_SETFD, FD_CLOEXEC)
        // The reading end travels through /proc: nothing but 0, 1 and 2 is inherited.
        child = try ChildProcess(
            "/bin/sh", ["-c", "trap '' INT TERM HUP; read -r word || { \(command)\n}"],
            input: "/proc/self/fd/\(reading)")
        close(reading)
        end = writing
    }

    /// All is well: it ends without running the command.
    func dismiss() {
        _ = write(end, "done\n", 5)
        close(end)
        _ = try? child.wait()  // it has nothing more to do; a late end harms nobody
    }
}
