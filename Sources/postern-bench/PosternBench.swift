// postern-bench: what Postern costs. Named cases inside this process, and a load generator for any milter; contrib/bench
// puts peers beside it in the same run. Build it with `-c release`, or the numbers mean nothing.

import Foundation
import PosternAuth
import PosternMail

@main
struct PosternBench {
    static let help = """
        postern-bench list                      names of the cases
        postern-bench run [PREFIX...]           runs them: CPU microseconds an operation, median and p99, octets a second
        postern-bench dns-hits                  which share of hot names the DNS cache keeps while most names come once
        postern-bench dns-memory                what a million names take in the DNS cache
        postern-bench corpus DIRECTORY          writes keys, zone and messages for contrib/bench
        postern-bench milter --socket PATH --message FILE [--client ADDRESS] [--sessions N] [--messages N]
                      [--per-connection N] [--pid PID]... [--expect TEXT]
                                                loads a milter; CPU a message of those processes
        postern-bench dns --socket PATH --names FILE [--queries N] [--window N] [--pid PID]...
                                                asks a DNS server; CPU an answer of those processes
        postern-bench policy --socket ENDPOINT [--connections N] [--requests N] [--new PERCENT] [--pool N] [--seed N]
                      [--users N] [--stages RCPT,END-OF-MESSAGE] [--context TEXT] [--pid PID]... [--expect TEXT]
                                                loads a policy service (unix:PATH, inet:HOST:PORT); decisions a second,
                                                CPU a request of those processes
        postern-bench policy-door --socket ENDPOINT
                                                Postern's policy door, answering DUNNO: what it costs by itself
        postern-bench greylist-fill --rows N --file PATH | --redis HOST:PORT
                                                fills a greylist with triplets that wait, before it is loaded
        postern-bench idle --socket PATH --connections N --pid PID
                                                opens connections and tells the process's memory
        postern-bench cpu --messages N [--pid PID]... -- COMMAND
                                                runs COMMAND; CPU a message of those processes meanwhile

        """

    static func main() {
        do { try Commands.run(Array(CommandLine.arguments.dropFirst())) } catch {
            FileHandle.standardError.write(Data("postern-bench: \(error)\n".utf8))
            exit(1)
        }
    }
}
