// Asks the daemons for their numbers, all at once, so that one that does not answer costs its own time alone.

internal import PosternDaemon
internal import PosternMail
internal import PosternSocket
internal import Synchronization

final class MetricsCollector: Sendable {
    /// Longest wait for the daemons: less than the 10 s that Prometheus waits for a page by default.
    static let maxWait = Duration.seconds(5)

    private let control: DaemonControl
    /// `state.directory`, in which commands leave what is told of them.
    private let state: String?
    /// Those that were named; none for those of this host.
    private let named: [DaemonName]
    /// Those that were there once: they are expected from then on, and told as down.
    private let seen = Mutex<Set<DaemonName>>([])

    init(_ control: DaemonControl, named: [DaemonName], state: String? = nil) {
        self.control = control
        self.state = state
        self.named = named
    }

    func page() -> MetricsPage {
        func last(_ kind: LastBackup.Kind) -> LastBackup? { state.flatMap { LastBackup.read(kind, in: $0) } }
        return MetricsPage(answers(), backup: last(.made), tested: last(.tested))
    }

    func answers() -> [(daemon: DaemonName, answer: DaemonAnswer)] {
        let (control, expected) = (control, expected)
        let found = expected.map { _ in Found() }
        var asking: [Asking] = []
        for (daemon, place) in zip(expected, found) {
            let ask: @Sendable () -> Void = {
                let answer = control.ask(daemon, MetricsDocument.command, within: Self.maxWait)
                place.answer.withLock { $0 = answer }
            }
            do throws(SocketError) { asking.append(Asking(try Thread.start(name: "ask", body: ask))) } catch {
                ask()  // no thread to be had: one after the other
            }
        }
        for asked in asking { asked.join() }
        return zip(expected, found).map { daemon, place in
            (daemon, place.answer.withLock { $0 } ?? .failed("no answer"))
        }
    }

    private var expected: [DaemonName] {
        guard named.isEmpty else { return named }
        let usual = control.usual
        return seen.withLock { seen in
            seen.formUnion(usual)
            return DaemonName.allCases.filter(seen.contains)
        }
    }

    private final class Found: Sendable { let answer = Mutex<DaemonAnswer?>(nil) }

    /// A thread in a list.
    private final class Asking {
        private var thread: PosternDaemon.Thread?
        init(_ thread: consuming PosternDaemon.Thread) { self.thread = consume thread }
        func join() { thread.take()?.join() }
    }
}
