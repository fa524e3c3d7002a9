// What `postern explain` asks beside postern-policy, and what it does without a daemon: limits by postern-rate or by the
// same judge with nothing counted, and a greylist that has seen nobody.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

/// What limits would answer.
struct LimitExplanation {
    private let options: GlobalOptions
    private let asked: DaemonControl

    init(_ options: GlobalOptions, _ place: ControlArguments) {
        self.options = options
        asked = DaemonControl(options, place)
    }

    /// - Returns: no document where there are no limits and no postern-rate.
    func document(
        _ command: ControlCommand, in surroundings: Surroundings
    ) throws(CommandFailure) -> (document: ControlDocument?, notes: [String]) {
        let answer = asked.ask(.rate, command)
        if case .notRunning = answer { return try explainedHere(command, in: surroundings) }
        let document = try asked.taken(answer, of: .rate)
        guard document["action"]?.text != nil else { throw asked.unexpected("an explanation", of: .rate) }
        return (document, asked.notes)
    }

    private func explainedHere(
        _ command: ControlCommand, in surroundings: Surroundings
    ) throws(CommandFailure) -> (document: ControlDocument?, notes: [String]) {
        let loaded = try options.configurationIfAny(for: .rate, in: surroundings)
        guard let configuration = loaded.configuration, !configuration.limits.isEmpty else { return (nil, []) }
        let request = try PolicyRequest(explained: command)
        do throws(ExpressionError) {
            let judge = try LimitJudge(configuration.limits, isShadow: configuration.host.shadow)
            let verdict = judge.explanation(
                of: request, ledger: LimitMemory(maxKeys: configuration.limits.count), now: surroundings.now())
            let note = "warning: postern-rate does not run; its limits are explained as if nothing were counted"
            return (verdict.document, loaded.notes + [note])
        } catch {
            throw CommandFailure(.badConfiguration, "limits: \(error)")
        }
    }
}

enum Explanation {
    /// Two daemons' explanations as one: a refusal of either is the action, else whatever is done to the message.
    static func joined(_ policy: ControlDocument, _ limits: ControlDocument?) -> ControlDocument {
        guard let limits else { return policy }
        let both = [policy, limits]
        let decided =
            both.first { ["reject", "defer"].contains($0["action"]?.text) }
            ?? both.first { $0["action"]?.text != "pass" } ?? policy
        return .object(
            policy.members.map { member in
                switch member.key {
                case "action", "text": .init(member.key, decided[member.key] ?? .null)
                case "checks": .init(member.key, .list(both.flatMap { $0["checks"]?.elements ?? [] }))
                default: member
                }
            })
    }
}

extension PolicyRequest {
    /// The request that a command line describes.
    init(explained command: ControlCommand) throws(CommandFailure) {
        do throws(ControlRefusal) { try self.init(command) } catch { throw CommandFailure(.usage, "\(error)") }
    }
}

/// A greylist that has seen nobody yet.
struct NoMemory: GreylistLedger {
    func decide(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        foresee(request, times: times, now: now)
    }
    func foresee(_ request: GreylistRequest, times: GreylistTimes, now: UnixTime) -> GreylistAnswer {
        GreylistDecision.make(for: request, times: times, now: now) { _ in nil }.answer
    }
    func entries(
        withPrefix prefix: String, after: GreylistCursor?, limit: Int
    ) throws(GreylistUnavailable) -> GreylistPage { GreylistPage(rows: [], next: nil) }
    func entry(for key: GreylistKey) throws(GreylistUnavailable) -> GreylistEntry? { nil }
    func allow(_ key: GreylistKey, now: UnixTime) throws(GreylistUnavailable) {}
    func forget(_ key: GreylistKey) throws(GreylistUnavailable) -> Int { 0 }
    func counts() throws(GreylistUnavailable) -> GreylistCounts { GreylistCounts() }
}
