// The admin's command line. All of it is PosternAdmin's; see PosternCommand for what there is.

import Glibc
import PosternAdmin

@main
struct Postern {
    static func main() {
        exit(AdminCommandLine.run(Array(CommandLine.arguments.dropFirst())))
    }
}
