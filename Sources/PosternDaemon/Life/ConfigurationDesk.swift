// Reloading: a configuration without a single problem takes the old one's place as a whole; anything less changes
// nothing, and is told. SIGHUP and the control socket come here, one at a time.

import PosternAdmission
import PosternMail
import PosternSocket
import Synchronization

final class ConfigurationDesk: Sendable {
    /// What a reload led to.
    enum Outcome: Sendable {
        /// - Parameter notices: keys that changed and are read at a start only.
        case adopted(generation: Int, notices: [String])
        case refused(generation: Int, problems: [ConfigurationProblem])
    }

    /// What is in force.
    struct Standing: Sendable {
        let file: String
        /// 1 at the start, one more with each reload that was not refused.
        var generation = 1
        var loaded: UnixTime
        /// The last reload, if it was refused.
        var refusal: (time: UnixTime, problems: [ConfigurationProblem])?
    }

    private let role: ConfigurationRole
    private let started: Configuration
    private let log: DaemonLog
    private let notification: ServiceNotification
    private let now: @Sendable () -> UnixTime
    private let adopt: @Sendable (Configuration) -> Void
    private let standing: Mutex<Standing>
    /// Held over a whole reload; `standing` is not, so that a status never waits for a slow disk.
    private let turn = Mutex(())

    /// - Parameter started: what the daemon started with.
    /// - Parameter adopt: puts a checked configuration in force; called by one thread at a time.
    init(
        path: String, role: ConfigurationRole, started: Configuration, log: DaemonLog,
        notification: ServiceNotification = ServiceNotification(),
        now: @escaping @Sendable () -> UnixTime = WallClock.now,
        adopt: @escaping @Sendable (Configuration) -> Void
    ) {
        self.role = role
        self.started = started
        self.log = log
        self.notification = notification
        self.now = now
        self.adopt = adopt
        standing = Mutex(Standing(file: path, loaded: now()))
    }

    var current: Standing { standing.withLock { $0 } }

    /// Reads the file again.
    @discardableResult
    func reload() -> Outcome {
        turn.withLock { _ in
            notification.reloading()
            defer { notification.ready() }  // also after a refusal: the daemon works on
            let result = Configuration.load(path: current.file, for: role)
            guard let configuration = result.flawless else { return refuse(result.problems) }
            adopt(configuration)
            log.setLevel(configuration.log.level)
            let notices = started.keysForNextStart(in: configuration, role: role).map {
                "\($0) is another than at the start; it takes effect at the next start"
            }
            let (file, generation) = standing.withLock { standing in
                standing.generation += 1
                standing.loaded = now()
                standing.refusal = nil
                return (standing.file, standing.generation)
            }
            log.tell(.note(.info, "reloaded \(file): generation \(generation)"))
            for notice in notices { log.tell(.note(.warning, notice)) }
            return .adopted(generation: generation, notices: notices)
        }
    }

    private func refuse(_ problems: [ConfigurationProblem]) -> Outcome {
        let generation = standing.withLock { standing in
            standing.refusal = (now(), problems)
            return standing.generation
        }
        for problem in problems { log.tell(.note(.warning, "\(problem)")) }
        let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        log.tell(.note(.warning, "reload refused: \(count); going on with generation \(generation)"))
        return .refused(generation: generation, problems: problems)
    }
}

extension Configuration {
    /// Keys of a newer configuration that this one's daemon cannot take without a new start: sockets are opened once,
    /// and whoever reads the log knows where.
    func keysForNextStart(in newer: Configuration, role: ConfigurationRole) -> [String] {
        var keys: [String] = []
        func compare<Value: Equatable>(_ key: String, _ value: KeyPath<Configuration, Value>) {
            if self[keyPath: value] != newer[keyPath: value] { keys.append(key) }
        }
        switch role {
        case .dkim:
            compare("listen.dkim", \.listen.dkim)
            compare("state.directory", \.state.directory)
        case .dmarc: compare("listen.dmarc", \.listen.dmarc)
        case .policy: compare("listen.policy", \.listen.policy)
        case .rate: compare("listen.rate", \.listen.rate)
        case .dns:
            compare("listen.dns", \.listen.dns)
            compare("state.directory", \.state.directory)
        case .check: break
        }
        if role == .policy || role == .rate {
            compare("store.url", \.store.url)
            compare("store.timeout", \.store.timeout)
            compare("store.user", \.store.user)
            compare("store.password_file", \.store.passwordPath)
            compare("store.ca_file", \.store.authoritiesPath)
        }
        if role != .dns { compare("listen.dns", \.listen.dnsClientEndpoint) }
        compare("listen.control", \.listen.control)
        compare("listen.mode", \.listen.mode)
        compare("log.to", \.log.to)
        compare("log.facility", \.log.facility)
        compare("log.format", \.log.format)
        return keys
    }
}
