// What a subcommand may touch outside of its arguments, as values that a test can replace: standard input, the clock,
// DNS, and who we are. Files are read and written by Files.

internal import Glibc
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail
internal import PosternSocket
internal import Synchronization

struct Surroundings {
    /// Standard input up to its end, at most so many octets.
    var readInput: (_ atMost: Int) throws(FileFailure) -> [UInt8]
    var now: () -> UnixTime
    /// DNS as one transaction sees it; warnings go to the sink.
    var dns: (Resolver, any LogSink) -> any DNSAnswering
    /// The user that a key file must belong to, if there is one and we may give files away.
    var keyOwner: () -> KeyOwner
    /// Whose rights key files are judged for.
    var keyReader: () -> UserIdentity
    /// Whom this system asks for DNS.
    var systemResolvers: () -> [IPAddress] = { [] }
    /// main.cf and master.cf of this system's Postfix; nil where there is none, or they cannot be read.
    var postfixFiles: () -> (main: [UInt8], master: [UInt8])? = { nil }
    /// Writes to standard output at once: what is long, and what is followed.
    var write: ([UInt8]) throws(CommandFailure) -> Void = { _ in }
    /// Tells a line on standard error at once, while something is followed.
    var tell: (String) -> Void = { _ in }
    /// Shows how far long work is, in one line that is written over; nil where nobody sits at a terminal.
    var showProgress: ((String) -> Void)?
    /// Whether standard output is a terminal.
    var writesToTerminal: () -> Bool = { false }
    /// Called between the steps of a backup, by their names: for tests.
    var reached: (_ step: String) -> Void = { _ in }
    /// Lets some time go by before something is tried again.
    var pause: (Duration) -> Void = { _ in }
    /// Asks who sits at the terminal for a word; nil where nobody does.
    var ask: (_ question: String) -> String? = { _ in nil }
    /// From now on SIGINT, SIGTERM and SIGHUP end nothing: whoever holds what it gives asks whether one has come.
    var interruption: () -> () -> Bool = { { false } }

    /// A question's whole time: what postern-dkim has for a message.
    static let dnsBudget = Duration.seconds(20)

    /// The process itself.
    static var process: Surroundings {
        Surroundings(
            readInput: { limit throws(FileFailure) in
                try Files.read(descriptor: 0, named: "standard input", atMost: limit)
            },
            now: WallClock.now, dns: { resolver, log in resolver.answering(within: dnsBudget, log: log) },
            keyOwner: KeyOwner.ofThisSystem, keyReader: KeyOwner.reader, systemResolvers: resolversOfThisSystem,
            postfixFiles: postfixFilesOfThisSystem,
            write: { octets throws(CommandFailure) in
                if let trouble = StandardStream.output.write(octets) { throw .unwritten(trouble) }
            },
            tell: StandardStream.complain, showProgress: Terminal.progress,
            writesToTerminal: { isatty(STDOUT_FILENO) == 1 },
            pause: { usleep(UInt32(clamping: $0.nanoseconds / 1000)) },
            ask: Terminal.ask, interruption: Interruption.hold)
    }

    /// Source: resolv.conf(5), systemd-resolved.service(8): behind the stub are those of the second file.
    private static func resolversOfThisSystem() -> [IPAddress] {
        func nameservers(_ path: String) -> [IPAddress] {
            // Where it cannot be read nothing is known of them, and nothing is said.
            let octets = (try? Files.read(path, atMost: 1 << 16)) ?? []
            return ResolvConf.nameservers(in: String(decoding: octets, as: UTF8.self))
        }
        let found = nameservers("/etc/resolv.conf")
        let stub = IPAddress("127.0.0.53")
        return found.contains { $0 == stub } ? found + nameservers("/run/systemd/resolve/resolv.conf") : found
    }

    /// Source: postconf(1), the default of `config_directory`.
    private static func postfixFilesOfThisSystem() -> (main: [UInt8], master: [UInt8])? {
        // Where they cannot be read nothing is known of them, and nothing is said.
        guard let main = try? Files.read("/etc/postfix/main.cf", atMost: 1 << 20),
            let master = try? Files.read("/etc/postfix/master.cf", atMost: 1 << 20)
        else { return nil }
        return (main, master)
    }

    /// The octets of a file, or of standard input for `-`.
    func read(_ path: String, atMost limit: Int) throws(CommandFailure) -> [UInt8] {
        do throws(FileFailure) {
            return path == "-" ? try readInput(limit) : try Files.read(path, atMost: limit)
        } catch { throw CommandFailure(error) }
    }
}

/// Collects what libraries warn about while a subcommand runs, for its notes.
final class NoteCollector: LogSink {
    private let kept = Mutex<[String]>([])

    func write(_ event: LogEvent) {
        guard case .note(let level, let text) = event, level >= .warning else { return }
        kept.withLock { $0.append("\(level): \(text)") }
    }

    var notes: [String] { kept.withLock { $0 } }
}
