import Foundation
import PosternMail
import PosternSocket
import Synchronization
import Testing

@testable import PosternDaemon

@Suite("life of a daemon")
struct LifeTests {
    // MARK: Arguments

    @Test(
        "arguments",
        arguments: [
            ([], .run(configuration: "/etc/postern/postern.toml")),
            (["--config", "a.toml"], .run(configuration: "a.toml")),
            (["-c", "a.toml"], .run(configuration: "a.toml")),
            (["--config=a.toml"], .run(configuration: "a.toml")),
            (["--config", "--version"], .run(configuration: "--version")),
            (["--version"], .version), (["--help"], .help), (["-h"], .help),
            (["--config", "a.toml", "--help"], .help),
        ] as [([String], DaemonArguments)])
    func arguments(_ words: [String], _ meant: DaemonArguments) throws {
        #expect(try DaemonArguments(words) == meant)
    }

    @Test(
        "what is no command line",
        arguments: [
            (["--config"], .missingValue("--config")), (["--config="], .missingValue("--config")),
            (["-c", ""], .missingValue("-c")), (["--verbose"], .unexpected("--verbose")),
            (["a.toml"], .unexpected("a.toml")), ([""], .unexpected("")),
            (["-c", "a", "--config", "b"], .repeated("--config")),
        ] as [([String], UsageError)])
    func wrong(_ words: [String], _ error: UsageError) {
        #expect(throws: error) { try DaemonArguments(words) }
    }

    @Test("texts")
    func texts() {
        #expect(DaemonArguments.versionText(program: "postern-dkim") == "postern-dkim \(DaemonArguments.release)\n")
        let help = DaemonArguments.helpText(program: "postern-dkim", purpose: "signs mail")
        #expect(help.hasPrefix("postern-dkim: signs mail\n\nusage: postern-dkim [--config FILE]\n"))
        #expect(help.hasSuffix(".\n"))
        #expect(help.split(separator: "\n").allSatisfy { $0.count <= 120 })
    }

    @Test("exit statuses are those of sysexits.h")
    func statuses() {
        #expect(ExitStatus.allCases.map(\.rawValue) == [0, 1, 64, 65, 69, 78])
    }

    @Test("facilities", arguments: zip(SyslogFacility.allCases, [1, 2, 3, 4] + Array(16...23)))  // RFC 3164 §4.1.1
    func facility(_ facility: SyslogFacility, _ code: Int) {
        #expect(facility.code == code)
    }

    // MARK: Threads

    @Test("a thread runs with its name and our signals blocked, and can be waited for")
    func thread() throws {
        let seen = Mutex<(name: String, blocked: [Bool])>(("", []))
        let thread = try PosternDaemon.Thread.start(name: "a very long name of a thread", stackOctets: 256 * 1024) {
            var mask = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &mask)
            let blocked = [SIGTERM, SIGINT, SIGHUP].map { sigismember(&mask, $0) == 1 }
            let name = (try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)) ?? ""
            seen.withLock { $0 = (name, blocked) }
        }
        thread.join()
        #expect(seen.withLock { $0.name } == "a very long nam\n")
        #expect(seen.withLock { $0.blocked } == [true, true, true])
    }

    @Test("a detached thread runs too")
    func detached() throws {
        let ran = DispatchSemaphore(value: 0)
        try PosternDaemon.Thread.start(name: "one") { ran.signal() }.detach()
        do { _ = try PosternDaemon.Thread.start(name: "two") { ran.signal() } }
        ran.wait()
        ran.wait()
    }

    @Test("a stack that is no stack")
    func stack() {
        #expect {
            try PosternDaemon.Thread.start(name: "x", stackOctets: 1) {}.detach()
        } throws: {
            "\($0)" == "thread x: Invalid argument"
        }
    }

    // MARK: Signals

    @Test("signals are told in the order they came; none is lost before the wait; SIGPIPE is nothing")
    func signals() throws {
        try DaemonSignals.install()
        try DaemonSignals.install()
        defer { for number in [SIGTERM, SIGINT, SIGHUP] { signal(number, SIG_DFL) } }  // Ctrl-C works again
        #expect(DaemonSignals.wait(until: .now()) == nil)
        for (number, meant) in [
            (SIGHUP, DaemonSignals.Signal.reload), (SIGTERM, .stop), (SIGINT, .stop), (SIGHUP, .reload),
        ] {
            errno = 99
            kill(getpid(), number)
            #expect(DaemonSignals.wait() == meant)
        }
        raise(SIGHUP)  // to this very thread: delivered before raise(3) returns
        raise(SIGTERM)
        raise(SIGHUP)
        #expect([DaemonSignals.wait(), DaemonSignals.wait(), DaemonSignals.wait()] == [.reload, .stop, .reload])
        raise(SIGPIPE)
        #expect(DaemonSignals.wait(until: .now()) == nil)
        DaemonSignals.raise(.stop)
        #expect(DaemonSignals.wait() == .stop)
        // A wait that has begun is ended by a signal that comes later.
        let thread = try PosternDaemon.Thread.start(name: "signaller") { kill(getpid(), SIGHUP) }
        #expect(DaemonSignals.wait() == .reload)
        thread.join()
        // A thousand at once fill no pipe and stop nobody.
        for _ in 0..<100_000 { DaemonSignals.raise(.reload) }
        while DaemonSignals.wait(until: .now()) != nil {}
    }
}
