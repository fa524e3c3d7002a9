// What postern-dns answers on its control socket beside status and reload:
//
//     dns stats                                   one object: zones, clients, upstreams, cache
//     dns flush {name|zone|all}                   one object: {"flushed": 3}
//     dns trace {name, type}                      one object, when the answer is there
//
// Names are text as mail writes them. Query keys of DNS lists are hidden in all that is answered.

import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail
import Synchronization

struct DNSCommands: Sendable {
    let server: ForwarderServer
    let keys: QueryKeys
    /// Called when answers were forgotten.
    let whenFlushed: @Sendable () -> Void

    func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
        switch command.name {
        case "dns stats": .document(server.statistics.document(server.counters))
        case "dns flush": .document(["flushed": .number(flush(try what(command)))])
        case "dns trace": .documents(trace(try question(command)))
        default: nil
        }
    }

    // MARK: Flush

    private func what(_ command: ControlCommand) throws(ControlRefusal) -> Flush {
        let name = try command.textIfAny("name")
        let zone = try command.textIfAny("zone")
        switch (name, zone, try command.flag("all")) {
        case (let name?, nil, false): return .name(try self.name(name))
        case (nil, let zone?, false): return .zone(try self.name(zone))
        case (nil, nil, true): return .all
        default: throw ControlRefusal("expected one of name, zone and all")
        }
    }

    private func flush(_ what: Flush) -> Int {
        defer { whenFlushed() }
        return server.flush(what)
    }

    private func name(_ text: String) throws(ControlRefusal) -> DomainName {
        do throws(DomainNameError) { return text == "." ? .root : try DomainName(text) } catch {
            throw ControlRefusal("expected a domain name, found \(error)")
        }
    }

    // MARK: Trace

    private func question(_ command: ControlCommand) throws(ControlRefusal) -> Question {
        let text = try command.textIfAny("type") ?? "A"
        // As a client's question: RFC 6895 §3.1, see QueryMessage.
        guard let type = RecordType(text), type != .opt, type.rawValue != 0, !(128...255).contains(type.rawValue) else {
            throw ControlRefusal("expected a record type such as A, MX or TYPE65, found another word")
        }
        return Question(try name(try command.text("name")), type)
    }

    private func trace(_ question: Question) -> ControlFeed {
        let answer = TraceAnswer()
        server.trace(question) { trace in answer.set(TraceDocument(question, trace, keys).document) }
        return ControlFeed {
            switch answer.take() {
            case .waiting: .nothingYet
            case .ready(let document): .documents([document])
            case .taken: .end
            }
        }
    }
}

/// Where the event loop leaves the answer for the control socket's thread.
private final class TraceAnswer: Sendable {
    enum State: Sendable {
        case waiting
        case ready(ControlDocument)
        case taken
    }
    private let state = Mutex(State.waiting)

    func set(_ document: ControlDocument) { state.withLock { $0 = .ready(document) } }
    func take() -> State {
        state.withLock { state in
            defer { if case .ready = state { state = .taken } }
            return state
        }
    }
}
