// A trace as an object of the control socket. The answer travels as the octets of a DNS message (RFC 1035 §4.1) in
// hexadecimal, so that whoever shows it reads it as any answer; names with a query key in them are rewritten before.

import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail

struct TraceDocument {
    let document: ControlDocument

    init(_ question: Question, _ trace: ForwarderTrace, _ keys: QueryKeys) {
        let hidden = Question(keys.hidden(in: question.name), question.type)
        let message = Self.message(question, hidden, trace, keys)
        document = [
            "name": .text(keys.text(question.name)), "type": .text("\(question.type)"),
            "cache": Self.document(trace.standing, keys),
            "steps": .list(trace.steps.map(Self.document)),
            "source": .text(trace.source.rawValue), "time_us": Self.microseconds(trace.time),
            "rcode": .text("\(trace.body.rcode)"),
            "message": .text(message.map { Self.hexadecimal($0 >> 4) + Self.hexadecimal($0 & 15) }.joined()),
        ]
    }

    private static func hexadecimal(_ digit: UInt8) -> String { String(digit, radix: 16) }
    private static func microseconds(_ time: Duration) -> ControlDocument { .number(time.nanoseconds / 1000) }
    private static func seconds(_ time: Duration) -> ControlDocument { .number(time.components.seconds) }

    private static func document(_ standing: Cache.Standing, _ keys: QueryKeys) -> ControlDocument {
        switch standing {
        case .absent: ["state": "absent"]
        case .fresh(let left): ["state": "fresh", "left": seconds(left)]
        case .cut(let name): ["state": "cut", "by": .text(keys.text(name))]
        case .failing(let left, let hasStale):
            ["state": "failing", "left": seconds(left), "stale": .boolean(hasStale)]
        case .stale(let age, let left): ["state": "stale", "age": seconds(age), "left": seconds(left)]
        case .expired: ["state": "expired"]
        }
    }

    private static func document(_ step: ForwarderTrace.Step) -> ControlDocument {
        var members: [ControlDocument.Member] = [
            .init("time_us", microseconds(step.time)), .init("upstream", .text("\(step.upstream)")),
        ]
        switch step.event {
        case .asked(let isStream, let withEDNS):
            members += [
                .init("event", "asked"), .init("over", isStream ? "tcp" : "udp"), .init("edns", .boolean(withEDNS)),
            ]
        case .failed(let reason): members += [.init("event", "failed"), .init("reason", .text(reason))]
        case .ignored: members += [.init("event", "ignored")]
        case .answered(let time): members += [.init("event", "answered"), .init("round_trip_us", microseconds(time))]
        }
        return .object(members)
    }

    // MARK: The answer

    private static func message(
        _ question: Question, _ hidden: Question, _ trace: ForwarderTrace, _ keys: QueryKeys
    ) -> [UInt8] {
        // What we write we read; a message that is none shows an answer without records.
        guard let query = try? QueryMessage(DNSCodec.query(id: 0, question: hidden)) else { return [] }
        var body = trace.body
        if hidden != question {
            let said = body.resolution(of: question, elapsed: 0)
            if case .temporaryFailure = said.answer {
                body = ResponseBody(question: hidden, rcode: body.rcode)
            } else {
                body = ResponseBody(
                    question: hidden, rcode: body.rcode, answers: said.records.map { hide($0, keys) },
                    authority: said.authority.map { hide($0, keys) }, isAuthenticated: body.isAuthenticated)
            }
        }
        return body.message(for: query, elapsed: trace.elapsed, maxOctets: DNSCodec.maxMessageOctets)
    }

    /// The record with its names' keys hidden: its owner's, and those of the data that lead to another name.
    private static func hide(_ record: ResourceRecord, _ keys: QueryKeys) -> ResourceRecord {
        var record = record
        record.owner = keys.hidden(in: record.owner)
        switch try? record.data() {  // what has another form names nothing
        case .cname(let name), .ns(let name), .ptr(let name): record.octets = keys.hidden(in: name).wire + [0]
        case .soa(let primary, _):
            let rest = record.octets.dropFirst(primary.wire.count + 1)
            record.octets = keys.hidden(in: primary).wire + [0] + rest
        default: break
        }
        return record
    }
}
